"""HTTP: each route is thin, names its permission and calls one service method."""
