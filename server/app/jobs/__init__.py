"""Background jobs: thin tasks around services."""
