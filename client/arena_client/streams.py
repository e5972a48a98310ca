"""A discussion's events as they happen, over however many connections it takes."""

import contextlib
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

import httpx2

from arena_client.backoff import Backoff
from arena_client.errors import ArenaProblem, ArenaUnreachable
from arena_client.events import Cursor, StreamEvent, read_event

LARGEST_EVENT_BYTES = 8 * 1024 * 1024

Open = Callable[[str | None], AbstractContextManager[httpx2.Response]]


class EventStream(Iterator[StreamEvent]):
    """Iterate to follow the discussion; it ends after `discussion.ended`, or when it is closed.

    A lost connection is made again, from behind the last event, until nothing has come for `patience_seconds`.
    `close` may be called from another thread; whoever waits for an event is then released at once.
    """

    def __init__(self, connect: Open, after: str | None, patience_seconds: float) -> None:
        self._connect = connect
        self._cursor = Cursor(after)
        self._backoff = Backoff(patience_seconds)
        self._closed = threading.Event()
        self._response: httpx2.Response | None = None
        self._events = self._follow()

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event given."""
        return self._cursor.last_id

    def __next__(self) -> StreamEvent:
        return next(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration. Safe from any thread, and more than once."""
        self._closed.set()
        try:
            self._events.close()
        except ValueError:  # another thread is waiting in it
            self._wake()

    def _wake(self) -> None:
        """End the connection under its reader: closing the socket would not wake it, shutting it down does."""
        response = self._response
        if response is not None:
            sock = response.extensions["network_stream"].get_extra_info("socket")
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _follow(self) -> Generator[StreamEvent, None, None]:
        while not (self._closed.is_set() or self._cursor.has_ended):
            failure: Exception | None = None
            try:
                yield from self._read_one_connection()
            except (httpx2.TransportError, ArenaProblem) as error:
                failure = error
            if not self._cursor.has_ended:
                self._pause(failure)

    def _read_one_connection(self) -> Iterator[StreamEvent]:
        with self._connect(self._cursor.last_id) as response:
            self._response = response
            try:
                self._cursor.connected()
                yield from self._read(response)
            finally:
                self._response = None

    def _read(self, response: httpx2.Response) -> Iterator[StreamEvent]:
        for frame in httpx2.EventSource(response, LARGEST_EVENT_BYTES):
            if self._closed.is_set():
                return
            self._backoff.succeeded()
            if frame.retry is not None:
                self._backoff.first_seconds = frame.retry / 1000
            event = read_event(frame)
            if event is not None and self._cursor.accept(event):
                yield event
                if self._cursor.has_ended:
                    return

    def _pause(self, failure: Exception | None) -> None:
        """Wait for the next attempt; raise what stands in the way if there is no point in one."""
        if self._closed.is_set():
            return
        if isinstance(failure, ArenaProblem) and not failure.may_pass:
            raise failure
        retry_after = failure.retry_after_seconds if isinstance(failure, ArenaProblem) else None
        seconds = self._backoff.failed(retry_after)
        if seconds is not None:
            self._closed.wait(seconds)
        elif isinstance(failure, httpx2.TransportError):
            raise ArenaUnreachable(f"the stream of events broke and cannot be had again: {failure}") from failure
        else:
            raise failure or ArenaUnreachable("the stream of events ends again and again before the discussion does")
