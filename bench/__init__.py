"""Repeatable benchmarks, and the fake model server they and the tests use."""
