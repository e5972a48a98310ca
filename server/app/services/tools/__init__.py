"""What models may call in the middle of a turn: built-in tools, and those of servers of the workspace."""
