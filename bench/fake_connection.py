"""A client's connection to the fake model server: requests in, scripted writes out."""

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import cast

from bench import fake_wire as wire
from bench.fake_stamps import StampedReply

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_WRITE_BYTES = 64 * 1024


class Connection(asyncio.Protocol):
    """One client: its requests one after another, each answer played before the next request is read."""

    def __init__(self, answer: Callable[[bytes, bytes], wire.Answer | StampedReply], peers: "set[Connection]") -> None:
        self._answer = answer
        self._peers = peers
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._steps: Iterator[wire.Step | None] | None = None
        self._reply: StampedReply | None = None
        self._pending = b""
        self._due = 0.0
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._paused = False
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._peers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._peers.discard(self)
        self._transport = self._steps = self._reply = None
        if self._timer is not None:
            self._timer.cancel()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._read_requests()

    def _read_requests(self) -> None:
        while self._steps is None and self._reply is None and self._transport is not None:
            request = self._take_request()
            if request is None:
                return
            answer = self._answer(*request)
            if isinstance(answer, bytes):
                self._transport.write(answer)
            elif isinstance(answer, StampedReply):
                self._reply = answer
                answer.begin(self)
            else:
                self._steps, self._due = answer, self._loop.time()
                self._play()

    def _take_request(self) -> tuple[bytes, bytes] | None:
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return None
        head = bytes(self._received[: head_end + 2])
        length = _LENGTH.search(head)
        end = head_end + 4 + (int(length[1]) if length else 0)
        if len(self._received) < end:
            return None
        body = bytes(self._received[head_end + 4 : end])
        del self._received[:end]
        return head, body

    @property
    def is_gone(self) -> bool:
        return self._transport is None

    @property
    def is_full(self) -> bool:
        return self._paused

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def end_reply(self) -> None:
        self._reply = None
        self._loop.call_soon(self._read_requests)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._steps is not None and self._timer is None:
            self._play()

    def _play(self) -> None:
        """Write what is due and come back for the rest; the pace is kept from the start, so it does not drift."""
        self._timer = None
        assert self._steps is not None
        batch = bytearray(self._pending)
        self._pending = b""
        for step in self._steps:
            if step is None:
                self._write(batch)
                self._close()
                return
            delay, data = step
            if delay:
                self._write(batch)
                self._wait(delay, data)
                return
            batch += data
            if len(batch) >= _WRITE_BYTES:
                self._write(batch)
                self._wait(0.0, b"")
                return
        self._steps = None
        self._write(batch)
        self._loop.call_soon(self._read_requests)

    def _wait(self, delay: float, data: bytes) -> None:
        self._pending = data
        if delay == wire.NEVER:
            self._steps = iter(())
        if delay == wire.NEVER or self._transport is None:
            return
        if self._paused:  # the client reads slowly: `resume_writing` goes on
            return
        self._due = max(self._due + delay, self._loop.time() - 1) if delay else self._due
        self._timer = self._loop.call_at(self._due, self._play) if delay else self._loop.call_soon(self._play)

    def _write(self, data: bytearray) -> None:
        if data and self._transport is not None:
            self._transport.write(bytes(data))

    def _close(self) -> None:
        self._steps = None
        if self._transport is not None:
            self._transport.close()
