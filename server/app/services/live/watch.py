"""One watched discussion: the recent end of its log and the text being spoken, for all its local viewers."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

import structlog

from app.core.errors import Unavailable
from app.domain import events
from app.domain.events import StoredEvent
from app.services.live import frames
from app.services.live.bus import LiveBus
from app.services.live.frames import Frame, LogEntry
from app.services.live.position import OpenMessage, Position

log = structlog.stdlib.get_logger(__name__)

RECENT_EVENTS = 256
PAGE = 200


class LogReader(Protocol):
    """Reads the log; each call holds a connection no longer than it takes."""

    async def after(self, discussion_id: UUID, after: int, limit: int) -> Sequence[StoredEvent]: ...

    async def last_turn_event(self, discussion_id: UUID, upto: int) -> StoredEvent | None: ...

    async def last_seqs(self, discussion_ids: Sequence[UUID]) -> Mapping[UUID, int]: ...


class Watch:
    """Events `floor < seq <= last_seq` are at hand; older ones are in PostgreSQL."""

    def __init__(self, discussion_id: UUID, bus: LiveBus, reader: LogReader) -> None:
        self.discussion_id = discussion_id
        self.viewers = 0
        self.opening = asyncio.Lock()
        self.subscribed = asyncio.Event()
        self.is_open = False
        self.has_ended = False
        self.floor = 0
        self.last_seq = 0
        self.changes = 0
        self._bus = bus
        self._reader = reader
        self._recent: deque[LogEntry] = deque()
        self._speaking: OpenMessage | None = None
        self._text = ""
        self._change = asyncio.Event()
        self._refreshing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Learn where the log ends and what is being spoken."""
        positions = await self._reader.last_seqs([self.discussion_id])
        self.last_seq = self.floor = positions.get(self.discussion_id, 0)
        event = await self._reader.last_turn_event(self.discussion_id, self.last_seq)
        if event is not None:
            self.has_ended = event.type == events.DISCUSSION_ENDED
            self._speaking = LogEntry(event).opens
        self.is_open = True
        await self._fetch_text()

    async def wait_for_change(self, seen: int, timeout_seconds: float) -> bool:
        """Wait until `changes` is past `seen`; False if it still is not after the time-out."""
        if self.changes != seen:
            return True
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._change.wait()
        except TimeoutError:
            return False
        return True

    def frames_after(self, position: Position) -> list[Frame]:
        """What a viewer at `position` (not below the floor) has not been shown."""
        batch: list[Frame] = []
        if position.seq < self.last_seq:
            for entry in list(self._recent)[position.seq - self.last_seq :]:
                batch.extend(frames.advance(position, entry))
        speaking = self._speaking
        if speaking is not None and speaking == position.speaking and position.shown < len(self._text):
            batch.append(frames.delta(position, speaking, self._text[position.shown :]))
        return batch

    def on_events(self, stored: Sequence[StoredEvent]) -> None:
        """Take committed events; a jump in `seq` is filled from PostgreSQL."""
        if not self.is_open or not stored:
            return
        if stored[0].seq > self.last_seq + 1:
            self.refresh()
            return
        for event in stored:
            if event.seq == self.last_seq + 1:
                self._take(LogEntry(event))
        self.wake()

    def on_text(self, message_id: UUID, attempt: int, offset: int, text: str) -> None:
        """Take text of the message being spoken; whatever does not join up is fetched whole."""
        speaking = self._speaking
        if not self.is_open:
            return
        if (
            speaking is None
            or (speaking.message_id, speaking.attempt) != (message_id, attempt)
            or offset > len(self._text)
        ):
            self.refresh()
        elif offset + len(text) > len(self._text):
            self._text += text[len(self._text) - offset :]
            self.wake()

    def refresh(self) -> None:
        """Read what is missing from PostgreSQL and Valkey, in the background, once at a time."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh())

    async def _refresh(self) -> None:
        try:
            while page := await self._reader.after(self.discussion_id, self.last_seq, PAGE):
                for event in page:
                    if event.seq == self.last_seq + 1:
                        self._take(LogEntry(event))
            await self._fetch_text()
        except Unavailable as error:  # the next event, text or poll tries again
            log.warning("watch_refresh_failed", discussion_id=str(self.discussion_id), reason=error.code)
        self.wake()

    async def _fetch_text(self) -> None:
        speaking = self._speaking
        if speaking is None:
            return
        text = await self._bus.retained(self.discussion_id, speaking.message_id, speaking.attempt)
        if speaking == self._speaking and len(text) > len(self._text):
            self._text = text

    def _take(self, entry: LogEntry) -> None:
        self._recent.append(entry)
        self.last_seq = entry.seq
        if len(self._recent) > RECENT_EVENTS:
            self.floor = self._recent.popleft().seq
        if entry.opens is not None:
            self._speaking, self._text = entry.opens, ""
        elif self._speaking is not None and entry.closes(self._speaking):
            self._speaking, self._text = None, ""
        if entry.type == events.DISCUSSION_ENDED:
            self.has_ended = True

    def end(self) -> None:
        """Nothing more will come."""
        self.has_ended = True
        self.wake()

    def wake(self) -> None:
        """Let every viewer look again."""
        self.changes += 1
        self._change.set()
        self._change = asyncio.Event()
