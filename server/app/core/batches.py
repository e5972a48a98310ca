"""Long lists, some at a time."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in their order, `size` at a time; the last are fewer."""
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]
