"""When to try again, and when to give up."""

import math
import random
import time

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 15.0
MOST_DOUBLINGS = 10
SPREAD = 0.3


class Backoff:
    """Waits that double, from what the server suggests; spread, so that many viewers do not come back as one."""

    def __init__(self, patience_seconds: float) -> None:
        self.first_seconds = FIRST_SECONDS
        self._patience_seconds = patience_seconds
        self._failures = 0
        self._failing_since: float | None = None

    def succeeded(self) -> None:
        self._failures = 0
        self._failing_since = None

    def failed(self, at_least_seconds: float | None = None) -> float | None:
        """Seconds until the next attempt, or None if it has failed for longer than our patience."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        if now - self._failing_since > self._patience_seconds:
            return None
        doubled = min(math.ldexp(self.first_seconds, self._failures), LONGEST_SECONDS)
        self._failures = min(self._failures + 1, MOST_DOUBLINGS)
        return max(doubled * random.uniform(1 - SPREAD, 1 + SPREAD), at_least_seconds or 0.0)  # noqa: S311  no secret
