"""How often what lasts is asked after: soon at first, then more seldom."""

from collections.abc import Iterator
from time import monotonic

from arena_client.errors import ArenaTimeout

FIRST_SECONDS, LONGEST_SECONDS, GROWTH = 0.1, 2.0, 1.4


def pauses(seconds: float, what: str) -> Iterator[float]:
    """How long to wait before the next look; raise `ArenaTimeout` when it has been `seconds` altogether."""
    deadline, pause = monotonic() + seconds, FIRST_SECONDS
    while monotonic() < deadline:
        yield pause
        pause = min(LONGEST_SECONDS, pause * GROWTH)
    raise ArenaTimeout(f"{what} after {seconds:g} s")
