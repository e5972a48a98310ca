"""Chat model ports and their implementations."""
