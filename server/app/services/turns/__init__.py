"""The turn driver: one driver per discussion, one commit per turn."""
