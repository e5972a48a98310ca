"""WebSocket frames of a client at a pace that leaves time and memory for everybody else.

uvicorn reads up to 256 KiB at once, takes every frame in it before anything else runs, and answers pings itself: one
client that sends nothing but tiny frames would hold up the whole process for seconds, again and again. Here a round
takes a few frames, the next one waits its turn, and nothing is read meanwhile, so that the sender is what waits.

What is not whole is kept in memory until it is: a message has as long to arrive as a request's body has to begin, and
all unfinished ones of a process together a size.
"""

from asyncio import BaseTransport, TimerHandle
from time import monotonic
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import DATA_OPCODES, Frame

from app.core.door import door_of_server

FRAMES_PER_SECOND = 2000
"""More than any client has to say, of whatever kind; so many may also come at once."""
ROUND_FRAMES = 32
ROUND_BYTES = 64 * 1024
SLICE_BYTES = 512
HELD_BYTES = 64 * 1024 * 1024
"""Of all unfinished messages of a process."""
FAIR_BYTES = 64 * 1024
"""Whoever holds less is not who holds too much."""
TOO_SLOW, TOO_MUCH = 4408, 4503


class PacedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's protocol, given what was read piece by piece."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unread = bytearray()
        self._next_round: TimerHandle | None = None
        self._frames = 0
        self._owed_until = 0.0
        self._door = door_of_server(self.config)
        self._address = ""
        self._held_bytes = 0
        self._deadline: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Count it in: at the door it is one of its address's connections for as long as it lasts."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._door.enter(self._address)

    def data_received(self, data: bytes) -> None:
        """Take what was read: at once, unless there is too much of it or was a moment ago."""
        self._unread += data
        if self._next_round is not None or self.read_paused:
            return
        if self._owed_until > monotonic():
            self._schedule()
        else:
            self._round()

    def handle_events(self) -> None:
        """Count them before they are handled; whatever follows the end of a message has a time of its own."""
        self._frames += len(self.conn.events)
        if any(isinstance(event, Frame) and event.fin and event.opcode in DATA_OPCODES for event in self.conn.events):
            self._hold(0)
        super().handle_events()

    async def receive(self) -> Any:
        """The application's next message; once it has had them all, there may be a next round."""
        message = await super().receive()
        if self._unread and not self.read_paused:
            self._schedule()
        return message

    async def send(self, message: Any) -> None:
        """Send, and after the application has closed, go on reading up to the client's answer to that."""
        await super().send(message)
        if self._unread and not self.read_paused:
            self._schedule()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what will not be taken any more."""
        self._unread.clear()
        if self._next_round is not None:
            self._next_round.cancel()
            self._next_round = None
        self._hold(0)
        self._door.leave(self._address)
        super().connection_lost(exc)

    def _round(self) -> None:
        self._next_round = None
        self._frames = taken = 0
        while self._unread and not self.read_paused and self._frames < ROUND_FRAMES and taken < ROUND_BYTES:
            piece = bytes(self._unread[:SLICE_BYTES])
            del self._unread[:SLICE_BYTES]
            taken += len(piece)
            super().data_received(piece)
            self._hold(self._held_bytes + len(piece) if self._is_unfinished() else 0)
            if self.transport.is_closing():
                self._unread.clear()
        self._owed_until = max(self._owed_until, monotonic() - 1) + self._frames / FRAMES_PER_SECOND
        if self._unread and not self.read_paused:
            self._schedule()
        elif self.read_paused:
            self.transport.pause_reading()
        elif not self.transport.is_closing():
            self.transport.resume_reading()

    def _schedule(self) -> None:
        self.transport.pause_reading()
        if self._next_round is None:
            self._next_round = self.loop.call_later(max(0.0, self._owed_until - monotonic()), self._round)

    def _is_unfinished(self) -> bool:
        return bool(self.conn.reader.buffer or self.frames)

    def _hold(self, size: int) -> None:
        """So much is kept of a message that has begun; of none, there is no time to keep either."""
        self._door.held_bytes += size - self._held_bytes
        self._held_bytes = size
        if size == 0:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
        elif self._door.held_bytes > HELD_BYTES and size > FAIR_BYTES:
            self._end(TOO_MUCH, "too many messages are being read; try again shortly")
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self._door.body_seconds, self._give_up)

    def _give_up(self) -> None:
        self._deadline = None
        if self.read_paused:  # it is we who do not read
            self._deadline = self.loop.call_later(self._door.body_seconds, self._give_up)
        else:
            self._end(TOO_SLOW, "a message came too slowly")

    def _end(self, code: int, reason: str) -> None:
        if self.close_sent or self.transport.is_closing():
            return
        self._hold(0)
        self.conn.fail(code, reason)
        if self.handshake_complete:
            self.handle_parser_exception()
        else:
            self.transport.close()
