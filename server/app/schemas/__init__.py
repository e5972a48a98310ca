"""Wire types: what requests and responses look like."""
