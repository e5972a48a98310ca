"""A live viewer of one discussion, cheap while it watches: bytes are kept with their time and read afterwards."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast
from urllib.parse import urlsplit

import orjson

_ENDED = b"event: discussion.ended\n"


class ViewerError(AssertionError):
    """The stream broke a promise."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it was seen, and when (`time.perf_counter`)."""

    at: float
    id: str
    type: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """A completed turn: when it was seen, and the message."""

    at: float
    message: dict[str, Any]


class Viewer(asyncio.Protocol):
    """Follows `/discussions/{id}/events` from the beginning to `discussion.ended`."""

    def __init__(self, url: str, token: str) -> None:
        self._request = _request(url, token)
        self._reads: list[tuple[float, bytes]] = []
        self._last = b""
        self._transport: asyncio.Transport | None = None
        self._open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def watch(cls, url: str, token: str) -> Self:
        """Connect; return once the server has begun to answer."""
        where = urlsplit(url)
        assert where.hostname is not None
        assert where.port is not None
        loop = asyncio.get_running_loop()
        _, viewer = await loop.create_connection(lambda: cls(url, token), where.hostname, where.port)
        await asyncio.wait_for(viewer._open, 30)
        return viewer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._reads.append((time.perf_counter(), data))
        if not self._open.done():
            self._open.set_result(None)
        has_ended = _ENDED in data or _ENDED in self._last[-len(_ENDED) :] + data[: len(_ENDED)]
        if has_ended and not self.ended.done():
            self.ended.set_result(None)
        self._last = data

    def connection_lost(self, exc: Exception | None) -> None:
        for waiting in (self._open, self.ended):
            if not waiting.done():
                waiting.set_exception(ViewerError("the stream broke before the discussion ended"))

    def close(self) -> None:
        self.ended.cancel()  # nobody waits any more
        if self._transport is not None:
            self._transport.abort()

    def events(self) -> Iterator[Event]:
        """What was seen, in order."""
        return _events(self._reads)

    def turns(self) -> list[Turn]:
        """Return the completed turns; raise `ViewerError` for a gap, a double, or text that does not add up."""
        return turns_of(self._reads)


def turns_of(reads: Sequence[tuple[float, bytes]]) -> list[Turn]:
    """The completed turns of a stream as it was read from its socket, held to what `Viewer.turns` holds it to."""
    return _Checker().read(_events(reads))


def _events(reads: Sequence[tuple[float, bytes]]) -> Iterator[Event]:
    head, _, rest = b"".join(data for _, data in reads).partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise ViewerError(f"the stream was refused: {(head + rest)[:400]!r}")
    for at, frame in _frames(reads):
        if event := _event(at, frame):
            yield event


def _request(url: str, token: str) -> bytes:
    where = urlsplit(url)
    return (
        f"GET {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\nAccept: text/event-stream\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    ).encode()


def _frames(reads: Sequence[tuple[float, bytes]]) -> Iterator[tuple[float, bytes]]:
    """Undo the chunked transfer coding; a frame has the time of the read that completed it."""
    body = bytearray()
    pending = bytearray()
    in_head = True
    for at, data in reads:
        pending += data
        if in_head:
            _, found, rest = pending.partition(b"\r\n\r\n")
            if not found:
                continue
            in_head, pending = False, rest
        _dechunk(pending, body)
        while (end := body.find(b"\n\n")) >= 0:
            yield at, bytes(body[:end])
            del body[: end + 2]


def _dechunk(pending: bytearray, body: bytearray) -> None:
    """Move the data of whole chunks from `pending` to `body`."""
    start = 0
    while (line_end := pending.find(b"\r\n", start)) >= 0:
        size = int(pending[start:line_end], 16)
        data_end = line_end + 2 + size
        if len(pending) < data_end + 2:
            break
        body += pending[line_end + 2 : data_end]
        start = data_end + 2
    del pending[:start]


def _event(at: float, frame: bytes) -> Event | None:
    fields = dict(line.split(b": ", 1) for line in frame.split(b"\n") if b": " in line and not line.startswith(b":"))
    if b"data" not in fields:
        return None
    return Event(at, fields[b"id"].decode(), fields[b"event"].decode(), orjson.loads(fields[b"data"]))


class _Checker:
    """Walks through a stream and holds it to DESIGN's promises."""

    def __init__(self) -> None:
        self._seq = 0
        self._shown: dict[tuple[str, int], str] = {}
        self._turns: list[Turn] = []

    def read(self, events: Iterator[Event]) -> list[Turn]:
        for event in events:
            if event.type == "message.delta":
                self._delta(event.data)
            elif event.type.startswith("stream."):
                raise ViewerError(f"{event.type}: {event.data}")
            else:
                self._durable(event)
        return self._turns

    def _delta(self, data: dict[str, Any]) -> None:
        key = (data["message_id"], data["attempt"])
        shown = self._shown.get(key, "")
        if data["offset"] != len(shown):
            raise ViewerError(f"turn {data['turn']}: a delta at {data['offset']} after {len(shown)} characters")
        self._shown[key] = shown + data["text"]

    def _durable(self, event: Event) -> None:
        seq = int(event.id.partition(".")[0])
        if seq != self._seq + 1:
            raise ViewerError(f"event {seq} ({event.type}) after {self._seq}")
        self._seq = seq
        if event.type == "turn.failed":
            raise ViewerError(f"a turn failed: {event.data}")
        if event.type == "message.completed":
            self._completed(event)

    def _completed(self, event: Event) -> None:
        message = event.data
        if message["turn"] != len(self._turns) + 1:
            raise ViewerError(f"turn {message['turn']} after {len(self._turns)}")
        shown = self._shown.get((message["id"], message["attempt"]))
        if shown != message["content"]:
            raise ViewerError(f"turn {message['turn']}: the deltas are not the message: {shown!r}")
        self._turns.append(Turn(event.at, message))
