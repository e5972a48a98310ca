"""The hub: one reader of each watched discussion per process, however many viewers it has.

Always holds: a viewer is given the events of the log in order, each once, and between them the text of the message
being spoken, so that the deltas of an attempt join to its message's content. A viewer is nothing but a position; it
pulls from the watch what lies behind it, so a slow one costs no memory and delays nobody, and what it missed comes in
larger pieces. Viewers at the same place are given the same step, which is made and encoded once. Valkey brings news
fast; a poll of `last_seq`, once a second or, while Valkey is away, twice, brings whatever Valkey lost.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from uuid import UUID

import orjson
import structlog
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

from app.core.background import Errands
from app.core.cache import CACHE_ERRORS, connected, send_if_connected
from app.core.errors import NotFound, Unavailable
from app.domain.speech import Speech
from app.services.live import frames
from app.services.live.bus import EVENTS, RECONNECT_SECONDS, LiveBus, channel_of, decode_events
from app.services.live.frames import Batch, Frame, LogEntry
from app.services.live.position import OpenMessage, message_id_of
from app.services.live.viewer import Viewer
from app.services.live.watch import LogReader, Watch

log = structlog.stdlib.get_logger(__name__)

POLL_SECONDS, POLL_SECONDS_ALONE = 1.0, 0.5
SUBSCRIBE_SECONDS = 1.0
PING_SECONDS = 2.0
PAGE = 200
CONTROL_CHANNEL = "arena:hub"


class Following:
    """A viewer's way through its discussion."""

    def __init__(self, viewer: Viewer, watch: Watch, reader: LogReader) -> None:
        self._viewer = viewer
        self._watch = watch
        self._reader = reader

    async def next(self) -> Batch | None:
        """What lies behind the viewer's position, waiting for it; a batch without frames when it is time for a sign.

        None when there is no more: after `discussion.ended`, when the discussion was deleted, when the stream is over.
        Holds no connection of the pool while waiting.
        """
        viewer, watch = self._viewer, self._watch
        position = viewer.position
        while not (viewer.is_over or watch.is_gone):
            batch = await self._batch()
            if batch is not None:
                return batch
            if watch.has_ended and position.seq >= watch.last_seq:
                return None
            if viewer.beat_due:
                viewer.beat_due = False
                return Batch()
            if position.seq >= watch.floor and position.contradiction is None:
                await viewer.wait()
        return None

    async def _batch(self) -> Batch | None:
        position = self._viewer.position
        if position.contradiction is not None:
            return await self._reset()
        if position.seq >= self._watch.floor:
            return self._watch.step_from(position)
        return await self._from_the_log()

    @property
    def has_come_to_the_end(self) -> bool:
        """Whether nothing will ever come after what the viewer was given."""
        watch = self._watch
        return watch.has_ended and not watch.is_gone and self._viewer.position.seq >= watch.last_seq

    @property
    def is_gone(self) -> bool:
        """Whether the discussion was deleted."""
        return self._watch.is_gone

    def lagged(self) -> Frame:
        """The last frame for a viewer who took nothing for too long."""
        return frames.lagged(self._viewer.position, "nothing was taken from the stream for too long")

    async def _from_the_log(self) -> Batch | None:
        """What is too old for the watch; while the database is away, nothing for a moment."""
        position = self._viewer.position
        shown: list[Frame] = []
        try:
            page = await self._reader.after(self._viewer.discussion_id, position.seq, PAGE)
        except Unavailable:
            await asyncio.sleep(POLL_SECONDS_ALONE)
            return None
        if not page:  # it has just been deleted, and will be known to be gone in a moment
            await asyncio.sleep(POLL_SECONDS_ALONE)
        for event in page:
            entry = LogEntry(event)
            if frames.contradicts(position, entry):
                break
            shown.extend(frames.advance(position, entry))
        return Batch(shown) if shown else None

    async def _reset(self) -> Batch | None:
        position = self._viewer.position
        try:
            snapshot = await self._reader.snapshot(self._viewer.discussion_id, position.seq)
        except NotFound:
            self._watch.end()
            return None
        except Unavailable:
            await asyncio.sleep(POLL_SECONDS_ALONE)
            return None
        return Batch([frames.reset(position, snapshot)])


class Hub:
    """Fans discussions out to local viewers; one per API process."""

    def __init__(self, channels: Redis, bus: LiveBus, reader: LogReader) -> None:
        """`channels` is a client whose reads wait for as long as it takes."""
        self._channels = channels
        self._heard_at = 0.0
        self._bus = bus
        self._reader = reader
        self._errands = Errands()
        self._watches: dict[UUID, Watch] = {}
        self._by_channel: dict[bytes, Watch] = {}
        self._connection: AbstractConnection | None = None

    async def run(self) -> None:
        """Listen and poll until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._poll())

    async def close(self) -> None:
        """Leave nothing under way that reads, so that what is read from can be closed."""
        await self._errands.close()

    @asynccontextmanager
    async def following(self, viewer: Viewer) -> AsyncIterator[Following]:
        """The viewer's way from its position on, while the block runs.

        What the discussion does while its watch opens counts as coming, as long as it lies past `live_from`.
        """
        async with self._watching(viewer) as watch:
            position = viewer.position
            position.speaking = await self._speaking_at(watch, position.seq)
            if position.shown and position.speaking is None:
                position.contradiction = "no message was being spoken at that position"
            yield Following(viewer, watch, self._reader)

    def heard(self, discussion_id: UUID, message_id: UUID, attempt: int) -> Speech:
        """The attempt as far as viewers of this process may have been shown it, nothing if it is not watched."""
        watch = self._watches.get(discussion_id)
        return watch.heard(message_id, attempt) if watch is not None else Speech()

    async def _speaking_at(self, watch: Watch, seq: int) -> OpenMessage | None:
        try:
            return watch.speaking_at(seq) if seq else None
        except LookupError:
            event = await self._reader.last_turn_event(watch.discussion_id, seq)
            return LogEntry(event).opens if event else None

    @asynccontextmanager
    async def _watching(self, viewer: Viewer) -> AsyncIterator[Watch]:
        discussion_id = viewer.discussion_id
        watch = self._watches.get(discussion_id)
        if watch is None:
            watch = Watch(discussion_id, self._bus, self._reader, self._errands)
            self._watches[discussion_id] = watch
            self._by_channel[channel_of(discussion_id).encode()] = watch
        watch.viewers.add(viewer)
        try:
            await self._open(watch)
            yield watch
        finally:
            watch.viewers.discard(viewer)
            if not watch.viewers:
                await self._forget(watch)

    async def _open(self, watch: Watch) -> None:
        """Subscribe first and read the state after, so that nothing falls between."""
        async with watch.opening:
            if watch.is_open:
                return
            if self._connection is not None:
                with suppress(*CACHE_ERRORS):
                    async with asyncio.timeout(SUBSCRIBE_SECONDS):
                        await send_if_connected(self._connection, "SUBSCRIBE", channel_of(watch.discussion_id))
                        await watch.subscribed.wait()
            await watch.open()

    async def _forget(self, watch: Watch) -> None:
        self._watches.pop(watch.discussion_id, None)
        self._by_channel.pop(channel_of(watch.discussion_id).encode(), None)
        if self._connection is not None:
            with suppress(*CACHE_ERRORS):
                await send_if_connected(self._connection, "UNSUBSCRIBE", channel_of(watch.discussion_id))

    async def _listen(self) -> None:
        was_up = True
        while True:
            try:
                async with connected(self._channels, PING_SECONDS) as connection, asyncio.TaskGroup() as tasks:
                    async with asyncio.timeout(PING_SECONDS):
                        # From now on whoever comes subscribes; whoever came before is not forgotten.
                        self._connection = connection
                        channels = map(channel_of, self._watches)
                        await send_if_connected(connection, "SUBSCRIBE", CONTROL_CHANNEL, *channels)
                    if not was_up:
                        log.info("live_channel_back")
                    was_up = True
                    tasks.create_task(self._keep_alive(connection))
                    await self._read(connection)
            except* CACHE_ERRORS as errors:
                if was_up:
                    reason = type(errors.exceptions[0]).__name__
                    log.warning("live_channel_away", reason=reason, consequence="viewers poll the log")
                was_up = False
            finally:
                self._connection = None
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _read(self, connection: AbstractConnection) -> None:
        """Every message as it comes. The library's own way wraps each in timers and retries, which cost most of it.

        It would also connect anew in the name of whichever viewer happens to subscribe, while this reads.
        """
        while True:
            response = await connection.read_response(disable_decoding=True)
            self._heard_at = monotonic()
            kind, channel = response[0], response[1]
            if kind == b"message":
                self._receive(channel, response[2])
            else:
                await self._note(connection, kind, channel)

    async def _keep_alive(self, connection: AbstractConnection) -> None:
        """Give up a connection on which nothing comes back."""
        while True:
            asked_at = monotonic()
            await send_if_connected(connection, "PING")
            await asyncio.sleep(PING_SECONDS)
            if self._heard_at < asked_at:
                raise TimeoutError("Valkey does not answer")

    def _receive(self, channel: bytes, data: bytes) -> None:
        watch = self._by_channel.get(channel)
        if watch is None:
            return
        try:
            if data[:1] == EVENTS:
                watch.on_events(decode_events(data[1:]))
            else:
                message_id, _turn, attempt, offset, text = orjson.loads(data[1:])
                watch.on_text(message_id_of(message_id), attempt, offset, text)
        except Exception:  # whoever sent it: it must not cost anybody else's stream a thing
            log.exception("publication_not_understood", discussion_id=str(watch.discussion_id))
            watch.refresh()

    async def _note(self, connection: AbstractConnection, kind: bytes, channel: bytes) -> None:
        watch = self._by_channel.get(channel)
        if watch is None:
            return
        if kind == b"subscribe":
            watch.subscribed.set()
            if watch.is_open:
                watch.refresh()
        elif kind == b"unsubscribe":
            # The last viewer left just as another came, and its goodbye went out after the other's subscription.
            await send_if_connected(connection, "SUBSCRIBE", channel_of(watch.discussion_id))

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS if self._connection is not None else POLL_SECONDS_ALONE)
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
