"""What a workspace's discussions come to, for lists that stay up to date: every change of status, once and in order.

Always holds: the id of a notice says exactly which transactions its viewer has been told of (`domain.seen`), so whoever
comes back is told of all others, on any replica, and of none twice; nobody who commits waits for anybody. One reader
per process asks twice a second in which of the watched workspaces there is something new; viewers who have been told
the same share what is read then.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import zip_longest
from typing import Protocol
from uuid import UUID

import orjson
import structlog

from app.core.cursors import BadCursor, decode_cursor, encode_cursor
from app.core.errors import Unavailable
from app.domain import events
from app.domain.seen import Seen, numbers_of
from app.repositories.status_changes import StatusChange
from app.services.live.frames import Batch, Frame
from app.services.live.position import BadEventId, EventIdAhead
from app.services.live.streams import Standing, Stream
from app.services.live.watch import BATCH_BYTES

log = structlog.stdlib.get_logger(__name__)

POLL_SECONDS = 0.5
PAGE = 100
# The changes of one transaction are told together. None makes so many of them; of one that did, the rest is left out.
MOST_OF_A_TRANSACTION = 10_000
KEPT_READINGS = 16
MOST_DIGITS = 18
LONGEST_ID = 20_000  # every notice bears one; a thousand transactions under way at once make half of it
_IDS = "notifications"


class StatusReader(Protocol):
    """Reads changes of status; each call holds a connection no longer than it takes."""

    async def now(self) -> Seen: ...

    async def since(self, workspace_id: UUID, seen: Seen, limit: int) -> tuple[Sequence[StatusChange], Seen]: ...

    async def changed(self, workspace_ids: Sequence[UUID], seen: Seen) -> tuple[Mapping[UUID, bool], Seen | None]: ...


class Listener(Stream):
    """One who is told of a workspace what is not `seen` yet."""

    def __init__(
        self,
        standing: Standing,
        workspace_id: UUID,
        seen: Seen,
        *,
        heartbeat_seconds: float,
        life_seconds: float,
    ) -> None:
        super().__init__(standing, heartbeat_seconds=heartbeat_seconds, life_seconds=life_seconds)
        self.workspace_id = workspace_id
        self.seen = seen


Reading = tuple[Batch | None, Seen, bool]
"""The next changes, what has been seen after them, and whether there are no more."""


class _Watch:
    """A watched workspace; `news` grows whenever there may be something new."""

    def __init__(self) -> None:
        self.listeners: set[Stream] = set()
        self.news = 0
        self.read: dict[Seen, Reading] = {}
        self.reading = asyncio.Lock()

    def ring(self) -> None:
        self.news += 1
        self.read.clear()
        for listener in self.listeners:
            listener.wake()

    def keep(self, seen: Seen, found: Reading) -> None:
        """For others who have seen the same; those who come back stand at many places, the others at one or two."""
        if len(self.read) >= KEPT_READINGS:
            self.read.clear()
        self.read[seen] = found


class Hearing:
    """A listener's way through the workspace's changes; it has no end."""

    has_come_to_the_end = False

    def __init__(self, listener: Listener, watch: _Watch, reader: StatusReader) -> None:
        self._listener = listener
        self._seen = listener.seen
        self._watch = watch
        self._reader = reader
        self._heard = -1

    async def next(self) -> Batch | None:
        """What the listener was not told yet, waiting for it; without frames when it is time for a sign."""
        listener, watch = self._listener, self._watch
        while not listener.is_over:
            if self._heard != watch.news:
                batch = await self._read()
                if batch is not None:
                    return batch
                continue
            if listener.beat_due:
                listener.beat_due = False
                return Batch()
            await listener.wait()
        return None

    def lagged(self) -> Frame:
        """The last frame for a listener who took nothing for too long."""
        data = {"reason": "nothing was taken from the stream for too long"}
        return Frame(event_id_of(self._seen), events.STREAM_LAGGED, orjson.dumps(data))

    async def _read(self) -> Batch | None:
        news = self._watch.news
        try:
            async with self._watch.reading:
                found = self._watch.read.get(self._seen)
                if found is None:
                    found = await _read(self._reader, self._listener.workspace_id, self._seen)
                    if news == self._watch.news:
                        self._watch.keep(self._seen, found)
        except Unavailable:
            await asyncio.sleep(POLL_SECONDS)
            return None
        batch, self._seen, is_all = found
        if is_all:
            self._heard = news
        return batch


async def _read(reader: StatusReader, workspace_id: UUID, seen: Seen) -> Reading:
    changes, now, is_all = await _whole_transactions(reader, workspace_id, seen)
    shown: list[Frame] = []
    size = 0
    for change, following in zip_longest(changes, changes[1:]):
        is_whole = following is None or following.xid != change.xid
        if is_whole:  # an id stands for whole transactions
            seen = seen.told_upto(change.xid, now)
        frame = Frame(event_id_of(seen), change.type, _data_of(change))
        shown.append(frame)
        size += len(frame.event_id) + len(frame.data)
        if is_whole and following is not None and size >= BATCH_BYTES:
            return Batch(shown), seen, False
    return Batch(shown) if shown else None, seen, is_all


async def _whole_transactions(
    reader: StatusReader, workspace_id: UUID, seen: Seen
) -> tuple[Sequence[StatusChange], Seen, bool]:
    """The next changes, all or none of each transaction, what shows all there are, and whether these are all."""
    limit = PAGE
    while True:
        changes, now = await reader.since(workspace_id, seen, limit)
        if len(changes) < limit:
            return changes, now, True
        whole = [change for change in changes if change.xid != changes[-1].xid]
        if whole:
            return whole, now, False
        if limit >= MOST_OF_A_TRANSACTION:
            log.warning("notices_left_out", workspace_id=str(workspace_id), told=limit)
            return changes, now, False
        limit *= 10


def _data_of(change: StatusChange) -> bytes:
    return orjson.dumps(
        {
            "discussion_id": change.discussion_id,
            "seq": change.seq,
            "status": change.status,
            "end_reason": change.end_reason,
            "title": change.title,
            "topic": change.topic,
            "created_at": change.created_at,
        }
    )


def event_id_of(seen: Seen) -> str:
    return encode_cursor(_IDS, *numbers_of(seen))


def seen_of(event_id: str) -> Seen:
    """Raise `BadEventId` unless it is an id of a notice."""
    if len(event_id) > LONGEST_ID:
        raise BadEventId(f"the event id is longer than {LONGEST_ID} characters; use one that the stream gave, as it is")
    try:
        xmax, *unseen = map(_xid, decode_cursor(event_id, _IDS))
        return Seen.of(xmax, unseen)
    except (BadCursor, ValueError):
        raise BadEventId("the event id is malformed; use one that the stream gave, as it is") from None


def _xid(digits: str) -> int:
    if not digits.isascii() or not digits.isdigit() or len(digits) > MOST_DIGITS:
        raise ValueError(digits)
    return int(digits)


class Notices:
    """Tells local listeners; one per API process."""

    def __init__(self, reader: StatusReader) -> None:
        self._reader = reader
        self._watches: dict[UUID, _Watch] = {}
        self._seen: Seen | None = None

    async def begin(self, seen: Seen | None) -> Seen:
        """From where on to tell, by default from now; raise `EventIdAhead` for an id that nobody was given."""
        now = await self._reader.now()
        if seen is not None and seen.xmax > now.xmax:
            raise EventIdAhead("nothing has happened here that long yet")
        return seen or now

    @asynccontextmanager
    async def hearing(self, listener: Listener) -> AsyncIterator[Hearing]:
        """The listener's way while the block runs."""
        watch = self._watches.setdefault(listener.workspace_id, _Watch())
        watch.listeners.add(listener)
        try:
            yield Hearing(listener, watch, self._reader)
        finally:
            watch.listeners.discard(listener)
            if not watch.listeners:
                self._watches.pop(listener.workspace_id, None)

    async def run(self) -> None:
        """Look for news until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if not self._watches:
                self._seen = None
                continue
            try:
                await self._look()
            except Unavailable as error:
                log.warning("notices_poll_failed", reason=error.code)

    async def _look(self) -> None:
        if self._seen is None:
            self._seen = await self._reader.now()
            changed = dict.fromkeys(self._watches, True)
        else:
            found, now = await self._reader.changed(list(self._watches), self._seen)
            changed, self._seen = dict(found), now or self._seen
        for workspace_id, is_new in changed.items():
            watch = self._watches.get(workspace_id)
            if watch is not None and is_new:
                watch.ring()
