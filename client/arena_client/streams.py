"""Events as they happen, over however many connections it takes, for blocking callers."""

import contextlib
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

import httpx2

from arena_client.events import StreamEvent
from arena_client.following import FAILURES, LARGEST_EVENT_BYTES, Following

Open = Callable[[str, str | None], AbstractContextManager[httpx2.Response]]


class EventStream(Iterator[StreamEvent]):
    """Iterate to follow a discussion; it ends after `discussion.ended`. Notifications end when they are closed.

    A lost connection is made again, from behind the last event, until none could be had for `patience_seconds`.
    `close` may be called from another thread; whoever waits for an event is then released at once.
    """

    def __init__(self, connect: Open, following: Following) -> None:
        self._connect = connect
        self._following = following
        self._closed = threading.Event()
        self._response: httpx2.Response | None = None
        self._events = self._follow()

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event given."""
        return self._following.last_id

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
        while not (self._closed.is_set() or self._following.has_ended):
            failure: Exception | None = None
            try:
                yield from self._read_one_connection()
            except FAILURES as error:
                failure = error
            if not (self._closed.is_set() or self._following.has_ended):
                self._closed.wait(self._following.seconds_to_wait(failure))

    def _read_one_connection(self) -> Iterator[StreamEvent]:
        with self._connect(self._following.where, self._following.last_id) as response:
            self._response = response
            try:
                self._following.connected()
                yield from self._read(response)
            finally:
                self._response = None

    def _read(self, response: httpx2.Response) -> Iterator[StreamEvent]:
        for frame in httpx2.EventSource(response, LARGEST_EVENT_BYTES):
            if self._closed.is_set():
                return
            event = self._following.take(frame)
            if event is not None:
                yield event
            if self._following.is_spent:
                return
