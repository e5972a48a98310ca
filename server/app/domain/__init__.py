"""Rules without I/O: what a discussion may do, who speaks next, what a prompt holds."""
