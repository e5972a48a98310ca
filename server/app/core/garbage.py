"""What Python's collector of reference cycles need not look at again."""

import gc


def keep_all_that_lives() -> None:
    """Leave modules, classes and connections out of every later collection; call it once, when a process has started.

    A collection walks all it knows: without this, a tenth of the CPU time of a turn went into finding the same code
    again (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
