"""WebSocket frames of a client at a pace that leaves time for everybody else.

uvicorn reads up to 256 KiB at once, takes every frame in it before anything else runs, and answers pings itself: one
client that sends nothing but tiny frames would hold up the whole process for seconds, again and again. Here a round
takes a few frames, the next one waits its turn, and nothing is read meanwhile, so that the sender is what waits.
"""

from asyncio import TimerHandle
from time import monotonic
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

FRAMES_PER_SECOND = 2000
"""More than any client has to say, of whatever kind; so many may also come at once."""
ROUND_FRAMES = 32
ROUND_BYTES = 64 * 1024
SLICE_BYTES = 512


class PacedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's protocol, given what was read piece by piece."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unread = bytearray()
        self._next_round: TimerHandle | None = None
        self._frames = 0
        self._owed_until = 0.0

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
        """Count them before they are handled."""
        self._frames += len(self.conn.events)
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
        super().connection_lost(exc)

    def _round(self) -> None:
        self._next_round = None
        self._frames = taken = 0
        while self._unread and not self.read_paused and self._frames < ROUND_FRAMES and taken < ROUND_BYTES:
            piece = bytes(self._unread[:SLICE_BYTES])
            del self._unread[:SLICE_BYTES]
            taken += len(piece)
            super().data_received(piece)
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
