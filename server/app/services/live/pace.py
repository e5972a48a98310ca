"""How finely a worker cuts what its speakers say: to the token while few speak, coarser the more do.

A piece of text costs the worker, Valkey and every API process that shows it about the same whether it holds one token
or ten. So a worker reads no more pieces a second than it can carry, and what a model says meanwhile joins the next.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

PIECES_PER_SECOND = 7_000
SHORTEST_REST_SECONDS = 0.005
LONGEST_REST_SECONDS = 0.2
# A piece as long as this is joined enough.
LONG_CHARACTERS = 48


class Pace:
    """One per worker process."""

    def __init__(self) -> None:
        self._speaking = 0

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Count one more speaker while the block runs."""
        self._speaking += 1
        try:
            yield
        finally:
            self._speaking -= 1

    async def rest(self, characters: int) -> None:
        """Wait before the next piece is read, after one of so many characters."""
        seconds = min(self._speaking / PIECES_PER_SECOND, LONGEST_REST_SECONDS)
        if seconds >= SHORTEST_REST_SECONDS and characters < LONG_CHARACTERS:
            await asyncio.sleep(seconds)
