"""Every live stream that this process has open: how many a person may hold, whose rights have ended, when to speak up.

Always holds: a stream is open only while its session or API key lives and, where it shows a workspace, its person
belongs to that workspace. One query a tick asks after the rights of all streams together, so that they cost the same
however many viewers watch; what has changed reaches a stream within two seconds. A stream keeps nothing but its place:
it is woken and looks for itself.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol
from uuid import UUID

import structlog

from app.core.begun import Begun, begin
from app.core.errors import ArenaError, NotFound, RateLimited, Unavailable
from app.domain.permissions import Role, Scopes
from app.services.callers import Actor, SessionEnded
from app.services.live.frames import Batch

log = structlog.stdlib.get_logger(__name__)

TICK_SECONDS = 0.25
REVIEW_SECONDS = 0.75


class TooManyStreams(RateLimited):
    """One person holds as many live streams here as one may."""

    code = "too_many_streams"


@dataclass(frozen=True, slots=True)
class Standing:
    """By what right a stream is open; `workspace_id` None: it shows nothing of one."""

    credential_id: UUID
    user_id: UUID
    workspace_id: UUID | None = None
    scopes: Scopes = None


def standing_of(actor: Actor) -> Standing:
    """By what right an actor opens a stream of their workspace."""
    return Standing(actor.credential_id, actor.user_id, actor.workspace_id, actor.scopes)


class RightsReader(Protocol):
    """Reads the present rights; a session or key that is over is left out, a workspace one is not in as well."""

    async def roles(
        self, credentials: Collection[UUID], workspaces: Collection[UUID]
    ) -> Mapping[UUID, Mapping[UUID, Role]]: ...


Take = Callable[[Batch], Coroutine[Any, Any, None]]


class Stream:
    """One open stream, or channel of a socket: sleeps until there may be something to do.

    One that has `take`, by which it sends a batch, may be given the next without being woken: the send is begun for it,
    and only if it is not done at once the stream wakes to finish it. That halves what a viewer costs.
    """

    def __init__(
        self, standing: Standing, *, heartbeat_seconds: float | None = None, life_seconds: float | None = None
    ) -> None:
        now = monotonic()
        self.standing = standing
        self.refusal: ArenaError | None = None
        self.is_over = False
        self.beat_due = False
        self.take: Take | None = None
        self._blocked_seconds = 0.0
        self._unfinished: Begun | None = None
        self._heartbeat_seconds = heartbeat_seconds
        self._beats_at = now + heartbeat_seconds if heartbeat_seconds is not None else None
        self._ends_at = now + life_seconds if life_seconds is not None else None
        self._waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Let it look again."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Until it is woken. Whoever calls this has looked for news since its last `await`."""
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter
        if self._unfinished is not None:
            began = monotonic()
            unfinished, self._unfinished = self._unfinished, None
            await unfinished
            self._blocked_seconds = monotonic() - began

    def blocked_seconds(self) -> float:
        """How long what it was given lately took to be sent; asked after once."""
        seconds, self._blocked_seconds = self._blocked_seconds, 0.0
        return seconds

    @property
    def may_be_given(self) -> bool:
        """Whether it waits, for nothing but news, and can be given them as it does."""
        return self._waiter is not None and self.take is not None and not self.is_over

    def give(self, batch: Batch) -> None:
        """Send it the batch; it wakes if that takes time."""
        assert self.take is not None
        try:
            self._unfinished = begin(self.take(batch))
        except Exception:  # it is this viewer's fault alone, and we are at everybody's service
            log.exception("stream_failed")
            self.end()
        if self._unfinished is not None:
            self.wake()
        else:  # it has caught up
            self._blocked_seconds = 0.0

    def spoke(self) -> None:
        """Something was sent, so no heartbeat is needed for a while."""
        self.beat_due = False
        if self._heartbeat_seconds is not None:
            self._beats_at = monotonic() + self._heartbeat_seconds

    def end(self, refusal: ArenaError | None = None) -> None:
        """Nothing more is to be sent on it; `refusal` is why, if its rights have ended."""
        self.refusal = self.refusal or refusal
        self.is_over = True
        self.wake()

    def tick(self, now: float) -> None:
        if self._ends_at is not None and now >= self._ends_at:
            self.end()
        elif self._beats_at is not None and now >= self._beats_at:
            self.beat_due = True
            self.wake()

    def takes_role(self, role: Role) -> None:
        """Its person has this role in the workspace now."""


class OpenStreams:
    """The registry; one per API process."""

    def __init__(self, rights: RightsReader, most_per_user: int | None, forget: Callable[[UUID], None]) -> None:
        """`forget` drops what else this process remembers of a credential's rights."""
        self._rights = rights
        self._forget = forget
        self._most_per_user = most_per_user
        self._streams: set[Stream] = set()
        self._held: Counter[UUID] = Counter()
        self.is_closing = False

    def __len__(self) -> int:
        return len(self._streams)

    @contextmanager
    def holding(self, stream: Stream) -> Iterator[None]:
        """Keep the stream while the block runs; raise `TooManyStreams` beyond what one person may hold."""
        user_id = stream.standing.user_id
        if self._most_per_user is not None and self._held[user_id] >= self._most_per_user:
            raise TooManyStreams(f"you hold {self._most_per_user} live streams here; close some before you open more")
        self._held[user_id] += 1
        self._streams.add(stream)
        if self.is_closing:
            stream.end()
        try:
            yield
        finally:
            self._streams.discard(stream)
            self._held[user_id] -= 1
            if not self._held[user_id]:
                del self._held[user_id]

    def close(self) -> None:
        """End every stream after what it has been sent; viewers come back with the last id they saw."""
        self.is_closing = True
        for stream in self._streams:
            stream.end()

    async def run(self) -> None:
        """Tick and review until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tick())
            tasks.create_task(self._review_again_and_again())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = monotonic()
            for stream in self._streams:
                stream.tick(now)

    async def _review_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(REVIEW_SECONDS)
            try:
                await self.review()
            except Unavailable as error:  # while the database is away, nobody's rights change
                log.warning("review_of_rights_failed", reason=error.code)
            except Exception:
                log.exception("review_of_rights_failed")

    async def review(self) -> None:
        """Ask after everybody's rights, end the streams of those who have none left, and narrow the others."""
        asked = [stream for stream in self._streams if not stream.is_over]
        if not asked:
            return
        roles = await self._rights.roles(*_who_and_where(asked))
        for stream in asked:
            _review(stream, roles)
            if stream.refusal is not None:
                # Whoever comes back at once is not to be let in by what was true a moment ago.
                self._forget(stream.standing.credential_id)


def _who_and_where(streams: Sequence[Stream]) -> tuple[set[UUID], set[UUID]]:
    standings = {stream.standing for stream in streams}
    workspaces = {standing.workspace_id for standing in standings if standing.workspace_id is not None}
    return {standing.credential_id for standing in standings}, workspaces


def _review(stream: Stream, roles: Mapping[UUID, Mapping[UUID, Role]]) -> None:
    standing = stream.standing
    theirs = roles.get(standing.credential_id)
    if theirs is None:
        stream.end(SessionEnded("this session has ended; log in again"))
    elif standing.workspace_id is not None:
        role = theirs.get(standing.workspace_id)
        if role is None:
            stream.end(NotFound("there is no such thing here for you any more"))
        else:
            stream.takes_role(role)
