"""Utilities that know nothing of discussions."""
