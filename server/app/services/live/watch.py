"""One watched discussion: the recent end of its log and the text being spoken, for all its local viewers."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Protocol
from uuid import UUID

import structlog

from app.core.background import Errands
from app.core.errors import Unavailable
from app.domain import events
from app.domain.events import StoredEvent
from app.domain.speech import Speech, read_speech
from app.services.live import frames
from app.services.live.bus import LiveBus
from app.services.live.frames import Frame, LogEntry, Step
from app.services.live.position import OpenMessage, Position

log = structlog.stdlib.get_logger(__name__)

RECENT_EVENTS = 256
RECENT_BYTES = 1024 * 1024
PAGE = 200
# A stalled viewer holds the batch it is to be sent, and its connection the one before: twice this and an event each.
BATCH_BYTES = 32 * 1024
BATCH_CHARACTERS = BATCH_BYTES // 4
# Viewers who catch up stand at many places; those who are up to date at one or two.
KEPT_STEPS = 16


class LogReader(Protocol):
    """Reads the log; each call holds a connection no longer than it takes."""

    async def after(self, discussion_id: UUID, after: int, limit: int) -> Sequence[StoredEvent]: ...

    async def last_turn_event(self, discussion_id: UUID, upto: int) -> StoredEvent | None: ...

    async def last_seqs(self, discussion_ids: Sequence[UUID]) -> Mapping[UUID, int]: ...

    async def snapshot(self, discussion_id: UUID, seq: int) -> Mapping[str, Any]: ...


class Listening(Protocol):
    """One who is told when there is something new; must not change who else is."""

    def hear(self, watch: "Watch") -> None: ...


class Watch:
    """Events `floor < seq <= last_seq` are at hand; older ones are in PostgreSQL."""

    def __init__(self, discussion_id: UUID, bus: LiveBus, reader: LogReader, errands: Errands) -> None:
        self.discussion_id = discussion_id
        self.viewers: set[Listening] = set()
        self.opening = asyncio.Lock()
        self.subscribed = asyncio.Event()
        self.is_open = False
        self.has_ended = False
        self.is_gone = False
        self.floor = 0
        self.last_seq = 0
        self._bus = bus
        self._reader = reader
        self._errands = errands
        self._recent: deque[LogEntry] = deque()
        self._recent_bytes = 0
        self._last_not_for_all_alike = 0
        self._steps: dict[tuple[int, int], Step] = {}
        self._speaking: OpenMessage | None = None
        self._speech = Speech()
        self._is_waking = False
        self._is_stale = False
        self._refreshing: asyncio.Task[None] | None = None
        self._is_text_stale = False
        self._fetching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Learn where the log ends and what is being spoken."""
        positions = await self._reader.last_seqs([self.discussion_id])
        self.last_seq = self.floor = positions.get(self.discussion_id, 0)
        event = await self._reader.last_turn_event(self.discussion_id, self.last_seq)
        if event is not None:
            self.has_ended = event.type == events.DISCUSSION_ENDED
            self._speaking = LogEntry(event).opens
        self.is_open = True
        # Whoever opens it need not wait for Valkey: the text is told when it is there.
        self.refresh()

    def speaking_at(self, seq: int) -> OpenMessage | None:
        """The message that is open where the log ends now; raise `LookupError` for any other place."""
        if seq != self.last_seq or not self.is_open:
            raise LookupError(seq)
        return self._speaking

    def heard(self, message_id: UUID, attempt: int) -> Speech:
        """What was said so far in the attempt, nothing if it is not this that is being spoken."""
        speaking = self._speaking
        is_it = speaking is not None and (speaking.message_id, speaking.attempt) == (message_id, attempt)
        return self._speech if is_it else Speech()

    def step_from(self, position: Position) -> Step | None:
        """What a viewer at `position` (not below the floor) has not been shown, as much as is given at once.

        Moves the position behind it. None where there is nothing, or only what contradicts the position.
        """
        if position.seq < max(self._last_not_for_all_alike, position.live_from):
            return _as_step(self.frames_after(position), position)
        place = (position.seq, position.shown)
        step = self._steps.get(place)
        if step is not None:
            step.move(position)
            return step
        step = _as_step(self.frames_after(position), position)
        if step is not None:
            if len(self._steps) >= KEPT_STEPS:
                self._steps.clear()
            self._steps[place] = step
        return step

    def has_more_for(self, position: Position) -> bool:
        """Whether there is anything left for a viewer at `position`, if only the end."""
        if position.seq < self.last_seq or self.has_ended:
            return True
        return self._speaking == position.speaking and position.shown < len(self._speech.text)

    def frames_after(self, position: Position) -> list[Frame]:
        """The same, for this viewer alone."""
        batch: list[Frame] = []
        size = 0
        if position.seq < self.last_seq:
            for entry in islice(self._recent, len(self._recent) - (self.last_seq - position.seq), None):
                if frames.contradicts(position, entry):
                    return batch
                batch.extend(frames.advance(position, entry))
                size += len(entry.payload)
                if size >= BATCH_BYTES:
                    return batch
        speaking = self._speaking
        if speaking is not None and speaking == position.speaking and position.shown < len(self._speech.text):
            batch.extend(frames.spoken(position, speaking, self._speech, BATCH_CHARACTERS))
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
        """Take text of the message being spoken, as it is on its way; whatever does not join up is fetched whole."""
        speaking = self._speaking
        if not self.is_open:
            return
        if (
            speaking is None
            or (speaking.message_id, speaking.attempt) != (message_id, attempt)
            or offset > len(self._speech.text)
        ):
            self.refresh()
            return
        more = read_speech(text).after(len(self._speech.text) - offset)
        if more.text:
            self._speech = self._speech.joined(more)
            self.wake()

    def refresh(self) -> None:
        """Read what is missing from PostgreSQL, then from Valkey, in the background, each once at a time."""
        self._is_stale = True
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = self._errands.begin(self._refresh_while_stale())

    async def _refresh_while_stale(self) -> None:
        while self._is_stale:
            self._is_stale = False
            await self._read_log()
            # Valkey may be frozen: nobody waits for it who could read the log meanwhile.
            self._is_text_stale = True
            if self._fetching is None or self._fetching.done():
                self._fetching = self._errands.begin(self._fetch_text_while_stale())

    async def _read_log(self) -> None:
        try:
            while page := await self._reader.after(self.discussion_id, self.last_seq, PAGE):
                for event in page:
                    if event.seq == self.last_seq + 1:
                        self._take(LogEntry(event))
        except Unavailable as error:  # the next event, text or poll tries again
            log.warning("watch_refresh_failed", discussion_id=str(self.discussion_id), reason=error.code)
        self.wake()

    async def _fetch_text_while_stale(self) -> None:
        while self._is_text_stale and (speaking := self._speaking) is not None:
            self._is_text_stale = False
            speech = await self._bus.retained(self.discussion_id, speaking.message_id, speaking.attempt)
            if speaking != self._speaking:
                self._is_text_stale = True
            elif len(speech.text) > len(self._speech.text):
                self._speech = speech
                self.wake()

    def _take(self, entry: LogEntry) -> None:
        self._recent.append(entry)
        self._recent_bytes += len(entry.payload)
        self.last_seq = entry.seq
        while len(self._recent) > RECENT_EVENTS or (self._recent_bytes > RECENT_BYTES and len(self._recent) > 1):
            oldest = self._recent.popleft()
            self._recent_bytes -= len(oldest.payload)
            self.floor = oldest.seq
        if not entry.is_for_all_alike:
            self._last_not_for_all_alike = entry.seq
        if entry.opens is not None:
            self._speaking, self._speech = entry.opens, Speech()
        elif self._speaking is not None and entry.closes(self._speaking):
            self._speaking, self._speech = None, Speech()
        if entry.type == events.DISCUSSION_ENDED:
            self.has_ended = True

    def end(self) -> None:
        """Nothing more will come: the discussion was deleted."""
        self.has_ended = self.is_gone = True
        self.wake()

    def wake(self) -> None:
        """Let every viewer look again, once all news at hand are taken: what comes at once is told at once."""
        if not self._is_waking:
            self._is_waking = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._is_waking = False
        self._steps.clear()
        for viewer in self.viewers:
            viewer.hear(self)


def _as_step(batch: list[Frame], after: Position) -> Step | None:
    return Step(batch, after) if batch else None
