"""When to try again, and when to give up."""

import math
import random
import time
from collections.abc import Callable

FIRST_SECONDS = 0.5
SHORTEST_SECONDS = 0.01
LONGEST_SECONDS = 15.0
LASTING_SECONDS = 5.0
MOST_DOUBLINGS = 10
SPREAD = 0.3


class Backoff:
    """Waits that double, from what the server suggests; spread, so that many viewers do not come back as one.

    A connection that was alive for `LASTING_SECONDS` is no failure when it ends, though nothing happened meanwhile.
    """

    def __init__(self, patience_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._first_seconds = FIRST_SECONDS
        self._failures = 0
        self._failing_since: float | None = None
        self._connected_at: float | None = None

    def suggested(self, milliseconds: int) -> None:
        """The server's own idea of the first wait; never none at all, which would not double."""
        self._first_seconds = max(milliseconds / 1000, SHORTEST_SECONDS)

    def connected(self) -> None:
        self._connected_at = self._clock()

    def succeeded(self) -> None:
        self._failures = 0
        self._failing_since = None

    def failed(self, at_least_seconds: float | None = None, silent_seconds: float = 0.0) -> float | None:
        """Seconds until the next attempt, or None if it has failed for longer than our patience.

        `silent_seconds` of the connection's life, at its end, were no sign of life.
        """
        now = self._clock()
        if self._connected_at is not None and now - self._connected_at - silent_seconds >= LASTING_SECONDS:
            self.succeeded()
        self._connected_at = None
        if self._failing_since is None:
            self._failing_since = now
        if now - self._failing_since > self._patience_seconds:
            return None
        doubled = min(math.ldexp(self._first_seconds, self._failures), LONGEST_SECONDS)
        self._failures = min(self._failures + 1, MOST_DOUBLINGS)
        return max(doubled * random.uniform(1 - SPREAD, 1 + SPREAD), at_least_seconds or 0.0)  # noqa: S311  no secret
