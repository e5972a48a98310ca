"""Each thing that a client can do, described once; the two kinds of client are made of these."""
