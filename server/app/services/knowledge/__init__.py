"""The workspace's knowledge: documents that are parsed, cut, embedded and found again."""
