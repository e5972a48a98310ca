"""The command line: a module per command, and `arena`, which finds them."""
