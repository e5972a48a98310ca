"""Commands to a discussion: start, pause, resume, interrupt, stop.

A command never asks the driver: it changes the row under its lock and raises the epoch, so the driver's next write
fails and its lease is not renewed; it gives up within a second, on any worker. The one exception is a pause while
somebody speaks: it is written into the log, which the driver catches up on before it can write its message.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from app.core.errors import Conflict
from app.domain import events
from app.domain.audit import Action
from app.domain.discussion import EndReason, Step, advance
from app.domain.endings import Ending
from app.domain.policies import History
from app.domain.speech import Speech
from app.models import Discussion, Participant
from app.schemas.discussion import DiscussionRead
from app.services.callers import Actor
from app.services.discussion_access import require_control
from app.services.discussion_flow import (
    begin,
    end,
    go_on,
    go_on_to_next,
    history_of,
    name_next,
    queue_driver,
    rest,
    take_floor,
)
from app.services.discussion_views import floor_of, read_discussion, spending_of, table_of
from app.services.interrupted_turns import InterruptedTurns
from app.services.live.bus import LiveBus
from app.services.live.hub import Hub
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

FENCE_SECONDS = 5.0
PAUSE_LOOKS, LOOK_SECONDS = 10, 0.05
# Each other command that comes in between makes one try void.
CUT_TRIES, MOST_SECONDS_BETWEEN_TRIES = 30, 0.02


class CommandOvertaken(Conflict):
    """Other commands reached the discussion first, again and again."""

    code = "command_overtaken"


@dataclass(frozen=True, slots=True)
class _Cut:
    """A discussion taken from its driver, locked; whether an attempt was under way, and is kept as a message."""

    work: UnitOfWork
    discussion: Discussion
    participants: list[Participant]
    was_spoken: bool
    is_kept: bool


class DiscussionLifecycle:
    """Every method is one step, whole or not at all."""

    def __init__(self, uow: UnitOfWorkFactory, live: LiveBus, hub: Hub, interrupted: InterruptedTurns) -> None:
        self._uow = uow
        self._live = live
        self._hub = hub
        self._interrupted = interrupted

    async def start(self, actor: Actor, discussion_id: UUID) -> DiscussionRead:
        """Open the floor of a draft and queue the first turn, or do neither."""
        async with self._uow(actor.workspace_id) as work:
            discussion, participants = await _take(work, actor, discussion_id)
            advance(discussion.status, Step.START)
            begin(work, discussion, participants, await history_of(work, discussion))
            work.audit.record(Action.DISCUSSION_STARTED, actor, discussion_id)
            await queue_driver(work, discussion)
        return read_discussion(discussion, participants)

    async def pause(self, actor: Actor, discussion_id: UUID) -> DiscussionRead:
        """Let the speaker finish, and nobody begin; with nobody mid-turn it is paused at once."""
        async with self._uow(actor.workspace_id) as work:
            discussion, participants = await _take(work, actor, discussion_id)
            advance(discussion.status, Step.PAUSE)
            work.audit.record(Action.DISCUSSION_PAUSED, actor, discussion_id)
            if not await work.discussions.is_mid_turn(discussion):
                rest(work, discussion, participants, Step.PAUSE, "requested")
            elif not discussion.pause_requested:
                discussion.pause_requested = True
                work.log.append(discussion, events.discussion_pausing())
        if not discussion.pause_requested:
            return read_discussion(discussion, participants)
        return await self._after_the_speaker(actor, discussion_id)

    async def resume(self, actor: Actor, discussion_id: UUID) -> DiscussionRead:
        """Go on where it was paused: with the turn that is open, with whoever has the floor, or with a new choice."""
        async with self._uow(actor.workspace_id) as work:
            discussion, participants = await _take(work, actor, discussion_id)
            advance(discussion.status, Step.RESUME)
            await _resume(work, discussion, participants)
            work.audit.record(Action.DISCUSSION_RESUMED, actor, discussion_id)
            await queue_driver(work, discussion)
        return read_discussion(discussion, participants)

    async def interrupt(self, actor: Actor, discussion_id: UUID) -> DiscussionRead:
        """Pause now; a speaker is cut mid-word, and exactly what viewers were shown is kept."""
        async with self._cut(actor, discussion_id, Step.INTERRUPT) as cut:
            work, discussion, participants = cut.work, cut.discussion, cut.participants
            if cut.is_kept:
                take_floor(discussion)
                name_next(discussion, participants, await history_of(work, discussion))
            elif cut.was_spoken:
                _announce_again(work, discussion)
            rest(work, discussion, participants, Step.INTERRUPT, "interrupted")
            work.audit.record(Action.DISCUSSION_INTERRUPTED, actor, discussion_id)
        return read_discussion(discussion, participants)

    async def stop(self, actor: Actor, discussion_id: UUID) -> DiscussionRead:
        """End the discussion; a speaker is cut mid-word, and exactly what viewers were shown is kept."""
        async with self._cut(actor, discussion_id, Step.STOP) as cut:
            end(cut.work, cut.discussion, Ending(EndReason.STOPPED), Step.STOP)
            cut.work.audit.record(Action.DISCUSSION_STOPPED, actor, discussion_id)
        return read_discussion(cut.discussion, cut.participants)

    @asynccontextmanager
    async def _cut(self, actor: Actor, discussion_id: UUID, step: Step) -> AsyncIterator[_Cut]:
        """Take the discussion from its driver, and keep what viewers were shown of its open turn.

        A crash in between leaves a running discussion with a lease that lapses and a driver queued to go on with it.
        Where another command comes in between, it begins anew from what that one left, if the lifecycle allows it.
        """
        models = await self._interrupted.models_of(actor.workspace_id)
        for _ in range(CUT_TRIES):
            async with self._uow(actor.workspace_id) as work:
                discussion, _participants = await _take(work, actor, discussion_id)
                advance(discussion.status, step)
                spoken = discussion.turn_message_id if discussion.turn_epoch else None
                attempt = discussion.turn_attempt
                epoch = await work.discussions.fence(discussion, FENCE_SECONDS)
                await queue_driver(work, discussion)
            # Between two transactions, so that none waits for Valkey. What is sealed cannot grow any more.
            shown = await self._shown(discussion_id, spoken, attempt) if spoken is not None else Speech()
            async with self._uow(actor.workspace_id) as work:
                discussion, participants = await _take(work, actor, discussion_id)
                if discussion.epoch == epoch:
                    if shown.content:
                        await self._interrupted.keep(work, discussion, participants, shown, models)
                    yield _Cut(
                        work, discussion, participants, was_spoken=spoken is not None, is_kept=bool(shown.content)
                    )
                    return
            await asyncio.sleep(random.uniform(0, MOST_SECONDS_BETWEEN_TRIES))  # noqa: S311 - no secret
        raise CommandOvertaken("other commands reached the discussion first; look at it and try again")

    async def _shown(self, discussion_id: UUID, message_id: UUID, attempt: int) -> Speech:
        """What viewers were shown of the attempt: what Valkey retains, or if it has lost some what was heard here."""
        retained = await self._live.seal(discussion_id, message_id, attempt)
        heard = self._hub.heard(discussion_id, message_id, attempt)
        return heard if heard.text.startswith(retained.text) else retained

    async def _after_the_speaker(self, actor: Actor, discussion_id: UUID) -> DiscussionRead:
        """The discussion once it is paused, or as it is after a moment: most speakers finish within it."""
        for look in range(PAUSE_LOOKS):
            if look:
                await asyncio.sleep(LOOK_SECONDS)
            async with self._uow.reading(actor.workspace_id) as work:
                discussion = await work.discussions.get(discussion_id)
                participants = await work.discussions.list_seats(discussion_id)
            if not discussion.pause_requested:
                break
        return read_discussion(discussion, participants)


async def _take(work: UnitOfWork, actor: Actor, discussion_id: UUID) -> tuple[Discussion, list[Participant]]:
    """Lock the discussion for a command of the actor's."""
    discussion = await work.discussions.get_for_update(discussion_id)
    require_control(actor, discussion)
    return discussion, await work.discussions.list_seats(discussion_id)


async def _resume(work: UnitOfWork, discussion: Discussion, participants: list[Participant]) -> None:
    floor = floor_of(discussion, participants)
    if discussion.turn_message_id is not None and floor is not None:
        go_on(work, discussion, participants, floor)
        return
    history = await history_of(work, discussion)
    if _end_what_is_over(work, discussion, participants, history):
        return
    if floor is not None:
        go_on(work, discussion, participants, floor)
        return
    go_on_to_next(work, discussion, participants, history, Step.RESUME)


def _end_what_is_over(
    work: UnitOfWork, discussion: Discussion, participants: list[Participant], history: History
) -> bool:
    """End it instead if what was interrupted was the last turn, or said what was to end it."""
    table = table_of(discussion, participants)
    ending = table.ending(history, spending_of(discussion), discussion.wrap_up, was_heard=discussion.turn > 0)
    if ending is None:
        return False
    discussion.status = advance(discussion.status, Step.RESUME)
    end(work, discussion, ending)
    return True


def _announce_again(work: UnitOfWork, discussion: Discussion) -> None:
    """Nothing was shown of the turn: it stays open, and its next attempt begins when the discussion is resumed."""
    assert discussion.speaker_id is not None
    assert discussion.turn_message_id is not None
    discussion.turn_attempt += 1
    discussion.turn_epoch = 0
    retried = events.turn_retried(
        discussion.turn + 1, discussion.turn_attempt, discussion.speaker_id, discussion.turn_message_id, "interrupted"
    )
    work.log.append(discussion, retried)
