"""What a viewer does with what comes of a stream, or does not come: without I/O, for either kind of client."""

import time
from collections.abc import Callable

import httpx2

from arena_client.backoff import Backoff
from arena_client.errors import ArenaProblem, ArenaUnreachable
from arena_client.events import STREAM_LAGGED, Cursor, StreamEvent, read_event
from arena_client.transport import SILENCE_SECONDS

NEVER_MS = 24 * 3600 * 1000
"""Told to come back in a day, a viewer has been shown all there is."""
LARGEST_EVENT_BYTES = 8 * 1024 * 1024

FAILURES = (httpx2.TransportError, ArenaProblem)
"""What a connection may break with, for `seconds_to_wait` to judge."""


class Following:
    """One stream over all its connections. For each: `connected`, `take` every frame, then `seconds_to_wait`."""

    def __init__(
        self, where: str, cursor: Cursor, patience_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.where = where
        self.is_spent = False
        self._has_nothing_left = False
        self._cursor = cursor
        self._backoff = Backoff(patience_seconds, clock)

    @property
    def last_id(self) -> str | None:
        return self._cursor.last_id

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will ever come."""
        return self._cursor.has_ended or self._has_nothing_left

    def connected(self) -> None:
        self.is_spent = False
        self._cursor.connected()
        self._backoff.connected()

    def take(self, frame: httpx2.ServerSentEvent) -> StreamEvent | None:
        """The event to be shown, if there is one; the connection is to be left after it if it `is_spent`."""
        if frame.retry is not None:
            self._has_nothing_left = frame.retry >= NEVER_MS
            self._backoff.suggested(frame.retry)
        event = read_event(frame)
        if event is None or not self._cursor.accept(event):
            return None
        has_lagged = event.event == STREAM_LAGGED
        self.is_spent = has_lagged or self.has_ended
        if not has_lagged:  # or a viewer that lags on and on would come back at once each time
            self._backoff.succeeded()
        return event

    def seconds_to_wait(self, failure: Exception | None) -> float:
        """How long until the next attempt; raise what stands in the way if there is no point in one."""
        if isinstance(failure, ArenaProblem) and not failure.may_pass:
            raise failure
        retry_after = failure.retry_after_seconds if isinstance(failure, ArenaProblem) else None
        silent = SILENCE_SECONDS if isinstance(failure, httpx2.ReadTimeout) else 0.0
        seconds = self._backoff.failed(retry_after, silent)
        if seconds is not None:
            return seconds
        if isinstance(failure, httpx2.TransportError):
            raise ArenaUnreachable(f"the stream of events broke and cannot be had again: {failure}") from failure
        raise failure or ArenaUnreachable("the stream of events ends again and again before the discussion does")
