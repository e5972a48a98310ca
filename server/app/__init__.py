"""Discussion Arena: the server."""
