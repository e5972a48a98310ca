"""WebSocket frames of a client at a pace that leaves time and memory for everybody else.

uvicorn reads up to 256 KiB at once, takes every frame in it before anything else runs, and answers pings itself: one
client that sends nothing but tiny frames would hold up the whole process for seconds, again and again. Here a round
takes a few frames, the next one waits its turn, and nothing is read meanwhile, so that the sender is what waits.

What is not whole is kept in memory until it is: a message has as long to arrive as a request's body has to begin, and
all unfinished ones of a process together a size. Nothing is read from who does not read either.
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
PIECE_BYTES = 64
"""What a piece of a message takes besides its bytes."""
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
        self._message_bytes = self._held_bytes = 0
        self._deadline: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Count it in: at the door it is one of its address's connections for as long as it lasts."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._door.enter(self._address)

    def data_received(self, data: bytes) -> None:
        """Take what was read: at once, unless there is too much of it or was a moment ago."""
        self._unread += data
        if self._next_round is not None or self.read_paused or not self.writable.is_set():
            self.transport.pause_reading()
            self._account()
            return
        if self._owed_until > monotonic():
            self._schedule()
        else:
            self._round()

    def handle_events(self) -> None:
        """Count them before they are handled; whatever follows the end of a message has a time of its own."""
        self._frames += len(self.conn.events)
        if any(isinstance(event, Frame) and event.fin and event.opcode in DATA_OPCODES for event in self.conn.events):
            self._begin_anew()
        super().handle_events()

    async def receive(self) -> Any:
        """The application's next message; once it has had them all, there may be a next round."""
        message = await super().receive()
        if self._may_go_on():
            self._schedule()
        return message

    async def send(self, message: Any) -> None:
        """Send, and after the application has closed, go on reading up to the client's answer to that."""
        await super().send(message)
        if self._may_go_on():
            self._schedule()

    def pause_writing(self) -> None:
        """A client that takes no answers is asked nothing more: each ping of its would be one."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on where it stopped."""
        super().resume_writing()
        if self._may_go_on():
            self._schedule()
        elif not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def shutdown(self) -> None:
        """End it with the server."""
        if self.handshake_initiated:
            super().shutdown()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what will not be taken any more."""
        self._let_go()
        self._door.leave(self._address)
        super().connection_lost(exc)

    def _round(self) -> None:
        self._next_round = None
        self._frames = taken = 0
        while self._may_go_on() and self._frames < ROUND_FRAMES and taken < ROUND_BYTES:
            piece = bytes(self._unread[:SLICE_BYTES])
            del self._unread[:SLICE_BYTES]
            taken += len(piece)
            self._message_bytes += len(piece)
            super().data_received(piece)
            if self.transport.is_closing():
                self._unread.clear()
        self._owed_until = max(self._owed_until, monotonic() - 1) + self._frames / FRAMES_PER_SECOND
        self._account()
        if self.transport.is_closing():
            return
        if not self.handshake_initiated:
            self._refuse_handshake()
        elif self._may_go_on():
            self._schedule()
        elif self._unread or self.read_paused:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _may_go_on(self) -> bool:
        return bool(self._unread) and not self.read_paused and self.writable.is_set()

    def _schedule(self) -> None:
        self.transport.pause_reading()
        if self._next_round is None:
            self._next_round = self.loop.call_later(max(0.0, self._owed_until - monotonic()), self._round)

    def _account(self) -> None:
        """Count what is kept of what has come, and see to it that a message that has begun ends in time."""
        is_unfinished = bool(self.conn.reader.buffer or self.frames)
        kept = len(self._unread)
        if is_unfinished:
            kept += self._message_bytes + PIECE_BYTES * len(self.frames)
            if self._deadline is None:
                self._deadline = self.loop.call_later(self._door.body_seconds, self._give_up)
        else:
            self._begin_anew()
        self._hold(kept)
        if self._door.held_bytes > HELD_BYTES and kept > FAIR_BYTES:
            self._end(TOO_MUCH, "too many messages are being read; try again shortly")

    def _begin_anew(self) -> None:
        """Of the next message nothing has come, and it has its own time."""
        self._message_bytes = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _hold(self, size: int) -> None:
        self._door.held_bytes += size - self._held_bytes
        self._held_bytes = size

    def _give_up(self) -> None:
        self._deadline = None
        if self.read_paused:  # it is we who do not read
            self._deadline = self.loop.call_later(self._door.body_seconds, self._give_up)
        else:
            self._end(TOO_SLOW, "a message came too slowly")

    def _end(self, code: int, reason: str) -> None:
        self._let_go()
        if self.close_sent or self.transport.is_closing():
            return
        self.conn.fail(code, reason)
        if self.handshake_complete:
            self.handle_parser_exception()
        else:
            self.transport.close()

    def _refuse_handshake(self) -> None:
        """What the library made no request of; it says why, if it says anything."""
        self._let_go()
        self.close_sent = self.handshake_complete = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()

    def _let_go(self) -> None:
        self._unread.clear()
        self._begin_anew()
        self._hold(0)
        if self._next_round is not None:
            self._next_round.cancel()
            self._next_round = None
