"""How finely a process cuts what its models say: to the token while few speak, coarser the more do.

A piece of text costs the worker, Valkey and every API process that shows it about the same whether it holds one token
or ten. So no more pieces are read a second than can be carried, and what a model says meanwhile joins the next.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil

PIECES_PER_SECOND = 3_000
SHORTEST_REST_SECONDS = 0.01
LONGEST_REST_SECONDS = 0.17
# Whose rests end so close to each other read on together: one timer and one turn of the loop for all of them.
TOGETHER_SECONDS = 0.01
# A piece as long as this is joined enough, and more is likely to be right behind it.
LONG_CHARACTERS = 256


class Pace:
    """One for all models of a process."""

    def __init__(self) -> None:
        self._speaking = 0
        self._resting: dict[int, list[Callable[[], None]]] = {}

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Count one more speaker while the block runs."""
        self._speaking += 1
        try:
            yield
        finally:
            self._speaking -= 1

    def rest_seconds(self, characters: int) -> float:
        """How long to leave the next piece alone, after one of so many characters; 0: not at all."""
        seconds = min(self._speaking / PIECES_PER_SECOND, LONGEST_REST_SECONDS)
        return seconds if seconds >= SHORTEST_REST_SECONDS and characters < LONG_CHARACTERS else 0.0

    def after(self, seconds: float, read_on: Callable[[], None]) -> None:
        """Call `read_on` after so many seconds, or up to `TOGETHER_SECONDS` later."""
        loop = asyncio.get_running_loop()
        moment = ceil((loop.time() + seconds) / TOGETHER_SECONDS)
        resting = self._resting.get(moment)
        if resting is None:
            resting = self._resting[moment] = []
            loop.call_at(moment * TOGETHER_SECONDS, self._read_on, moment)
        resting.append(read_on)

    def _read_on(self, moment: int) -> None:
        for read_on in self._resting.pop(moment):
            read_on()
