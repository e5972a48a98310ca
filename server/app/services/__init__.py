"""Use cases: each method is one promise, kept in one unit of work."""
