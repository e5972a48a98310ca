"""The hub: one reader of each watched discussion per process, however many viewers it has.

Always holds: a viewer is given the events of the log in order, each once, and between them the text of the message
being spoken, so that the deltas of an attempt join to its message's content. A viewer is nothing but a position; it
pulls from the watch what lies behind it, so a slow one costs no memory and delays nobody, and what it missed comes in
larger pieces. Valkey brings news fast; a poll of `last_seq` once a second brings whatever Valkey lost.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import orjson
import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from app.core.cache import CACHE_ERRORS
from app.core.errors import Unavailable
from app.services.live import frames
from app.services.live.bus import EVENTS, RECONNECT_SECONDS, LiveBus, channel_of, decode_events
from app.services.live.frames import Frame, LogEntry
from app.services.live.position import OpenMessage, Position
from app.services.live.viewing import Viewing
from app.services.live.watch import LogReader, Watch

log = structlog.stdlib.get_logger(__name__)

POLL_SECONDS = 1.0
SUBSCRIBE_SECONDS = 1.0
PAGE = 200
CONTROL_CHANNEL = "arena:hub"


class Hub:
    """Fans discussions out to local viewers; one per API process."""

    def __init__(self, cache: Redis, bus: LiveBus, reader: LogReader) -> None:
        self._cache = cache
        self._bus = bus
        self._reader = reader
        self._watches: dict[UUID, Watch] = {}
        self._by_channel: dict[bytes, Watch] = {}
        self._pubsub: PubSub | None = None
        self.is_closing = False

    def close(self) -> None:
        """End every stream after what it has been sent; viewers come back with the last id they saw."""
        self.is_closing = True
        for watch in self._watches.values():
            watch.wake()

    async def run(self) -> None:
        """Listen and poll until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._poll())

    async def follow(
        self, discussion_id: UUID, position: Position, heartbeat_seconds: float, viewing: Viewing | None = None
    ) -> AsyncGenerator[list[Frame], None]:
        """Yield what lies behind `position`, then what comes; an empty list when nothing came for a while.

        What the discussion does while the watch opens counts as coming, as long as it lies past `position.live_from`.
        Ends after `discussion.ended`, when the discussion is deleted, when `viewing` is over, and on `close`. Holds no
        connection of the pool while waiting.
        """
        async with self._watching(discussion_id) as watch:
            position.speaking = await self._speaking_at(discussion_id, position)
            if position.shown and position.speaking is None:
                yield [frames.reset(position, "no message was being spoken at that position")]
            while not self.is_closing:
                if viewing is not None and not await viewing.may_go_on(position):
                    return
                seen = watch.changes
                batch = await self._next(watch, position)
                if batch:
                    yield batch
                elif watch.has_ended and position.seq >= watch.last_seq:
                    return
                elif not await watch.wait_for_change(seen, heartbeat_seconds):
                    yield []

    async def _next(self, watch: Watch, position: Position) -> list[Frame]:
        if position.seq >= watch.floor:
            return watch.frames_after(position)
        page = await self._reader.after(watch.discussion_id, position.seq, PAGE)
        return [frame for event in page for frame in frames.advance(position, LogEntry(event))]

    async def _speaking_at(self, discussion_id: UUID, position: Position) -> OpenMessage | None:
        event = await self._reader.last_turn_event(discussion_id, position.seq)
        return LogEntry(event).opens if event else None

    @asynccontextmanager
    async def _watching(self, discussion_id: UUID) -> AsyncIterator[Watch]:
        watch = self._watches.get(discussion_id)
        if watch is None:
            watch = Watch(discussion_id, self._bus, self._reader)
            self._watches[discussion_id] = watch
            self._by_channel[channel_of(discussion_id).encode()] = watch
        watch.viewers += 1
        try:
            await self._open(watch)
            yield watch
        finally:
            watch.viewers -= 1
            if watch.viewers == 0:
                await self._forget(watch)

    async def _open(self, watch: Watch) -> None:
        """Subscribe first and read the state after, so that nothing falls between."""
        async with watch.opening:
            if watch.is_open:
                return
            if self._pubsub is not None:
                with suppress(*CACHE_ERRORS):
                    await self._pubsub.subscribe(channel_of(watch.discussion_id))
                    async with asyncio.timeout(SUBSCRIBE_SECONDS):
                        await watch.subscribed.wait()
            await watch.open()

    async def _forget(self, watch: Watch) -> None:
        self._watches.pop(watch.discussion_id, None)
        self._by_channel.pop(channel_of(watch.discussion_id).encode(), None)
        if self._pubsub is not None:
            with suppress(*CACHE_ERRORS):
                await self._pubsub.unsubscribe(channel_of(watch.discussion_id))

    async def _listen(self) -> None:
        was_up = True
        while True:
            try:
                async with self._cache.pubsub() as pubsub:
                    await pubsub.subscribe(CONTROL_CHANNEL, *map(channel_of, self._watches))
                    self._pubsub = pubsub
                    if not was_up:
                        log.info("live_channel_back")
                    was_up = True
                    while True:
                        message = await pubsub.get_message(timeout=5.0)
                        if message is not None:
                            await self._receive(message["type"], message["channel"], message["data"])
            except CACHE_ERRORS as error:
                self._pubsub = None
                if was_up:
                    log.warning("live_channel_away", reason=type(error).__name__, consequence="viewers poll the log")
                was_up = False
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _receive(self, kind: str, channel: bytes, data: bytes | int) -> None:
        watch = self._by_channel.get(channel)
        if watch is None:
            return
        if kind == "subscribe":
            watch.subscribed.set()
            if watch.is_open:
                watch.refresh()
        elif kind == "message" and isinstance(data, bytes):
            if data[:1] == EVENTS:
                watch.on_events(decode_events(data[1:]))
            else:
                message_id, _turn, attempt, offset, text = orjson.loads(data[1:])
                watch.on_text(UUID(message_id), attempt, offset, text)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if not self._watches:
                continue
            asked = list(self._watches)
            try:
                positions = await self._reader.last_seqs(asked)
            except Unavailable as error:  # viewers wait, they are not cut off
                log.warning("live_poll_failed", reason=error.code)
                continue
            for discussion_id in asked:
                watch = self._watches.get(discussion_id)
                if watch is None or not watch.is_open:
                    continue
                if discussion_id not in positions:
                    watch.end()  # the discussion was deleted
                elif positions[discussion_id] > watch.last_seq:
                    watch.refresh()
