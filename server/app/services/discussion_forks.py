"""Forks: another discussion that begins with the log of one, up to some event."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import orjson

from app.core.errors import Invalid
from app.core.ids import new_id
from app.domain import events, snapshot
from app.domain.audit import Action
from app.domain.events import Event, StoredEvent
from app.domain.policies import settle_policy
from app.domain.visibility import as_copied
from app.models import Discussion, Participant
from app.schemas.discussion import DiscussionChanges, DiscussionFork, DiscussionRead, ParticipantCreate
from app.schemas.policies import policy_data
from app.services.ai_models import ModelCatalog
from app.services.callers import Actor, UserNotFound
from app.services.discussion_flow import begin, history_of, queue_driver
from app.services.discussion_views import SPEAKING_ROLES, participant_data, read_discussion, table_of
from app.services.discussions import (
    DuplicateParticipant,
    blank_discussion,
    check_members,
    check_models,
    find_seat,
    seat_all,
    strangers_among,
)
from app.services.seating_order import next_position
from app.services.stand_ins import seat_stand_ins
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

PAGE = 1000
_INHERITED = (
    "topic", "title", "instructions", "document_ids", "turn_policy", "limits", "stop_when", "priority", "seed",
    "on_turn_failure", "waiting",
)  # fmt: skip
_GIVEN = {*DiscussionChanges.model_fields, "seed"}
# The copied log tells of the parent's.
_RESTATED = {*DiscussionChanges.model_fields, "version"}


class ForkBeyondEnd(Invalid):
    """The parent's log has no such event."""

    code = "fork_beyond_end"
    where = ("body", "at_seq")


class DiscussionForks:
    """Copies what was said; whispers stay where they were said."""

    def __init__(self, uow: UnitOfWorkFactory, models: ModelCatalog) -> None:
        self._uow = uow
        self._models = models

    async def fork(self, actor: Actor, parent_id: UUID, request: DiscussionFork) -> DiscussionRead:
        """Make the fork whole, and start it unless a draft is wanted, or do nothing."""
        await check_models(self._models, actor.workspace_id, request.participants or [], request.model)
        async with self._uow(actor.workspace_id) as work:
            parent = await work.discussions.get_to_copy(parent_id)
            at_seq = await _fork_point(work, parent, request.at_seq)
            discussion = _new_fork(actor, parent, request, at_seq)
            work.audit.record(
                Action.DISCUSSION_FORKED, actor, discussion.id, parent_id=str(parent_id), is_started=request.start
            )
            participants = await _Copy(work, parent, discussion, at_seq).make(request)
            if request.start:
                begin(work, discussion, participants, await history_of(work, discussion))
            await queue_driver(work, discussion)
        return read_discussion(discussion, participants)


async def _fork_point(work: UnitOfWork, parent: Discussion, at_seq: int | None) -> int:
    """The last event to copy: the end of the discussion itself is never one, since the fork goes on."""
    if at_seq is not None and at_seq > parent.last_seq:
        raise ForkBeyondEnd(f"the discussion's log ends at {parent.last_seq}")
    at_seq = parent.last_seq if at_seq is None else at_seq
    # A title may have been changed after the end.
    last = await work.log.last_turn_event(parent.id, at_seq) if parent.status == "ended" else None
    return last.seq - 1 if last is not None and last.type == events.DISCUSSION_ENDED else at_seq


def _new_fork(actor: Actor, parent: Discussion, request: DiscussionFork, at_seq: int) -> Discussion:
    given = request.model_dump(mode="json", include=request.model_fields_set & _GIVEN)
    rules = {name: getattr(parent, name) for name in _INHERITED}
    rules |= {name: value for name, value in given.items() if value is not None or name in {"title", "instructions"}}
    if request.turn_policy is not None:
        rules["turn_policy"] = policy_data(request.turn_policy)
    return blank_discussion(actor, parent_id=parent.id, parent_seq=at_seq, **rules)


class _Copy:
    """Copies a parent's log and rows into a new discussion, under new ids."""

    def __init__(self, work: UnitOfWork, parent: Discussion, discussion: Discussion, at_seq: int) -> None:
        self._work = work
        self._parent = parent
        self._discussion = discussion
        self._at_seq = at_seq
        self._ids: dict[str, str] = {}
        self._state: dict[str, Any] = dict(snapshot.EMPTY)
        self._settled: Mapping[str, Any] | None = None
        self._policy_is_newer = False

    async def make(self, request: DiscussionFork) -> list[Participant]:
        """The fork's seats, all that it inherits being written."""
        seats = await self._copy_seats()
        await self._work.discussions.add(self._discussion, seats)
        await self._copy_log()
        self._policy_is_newer = await self._work.log.changes(self._parent.id, "turn_policy", self._at_seq)
        self._take_state(seats, request)
        participants = await self._line_up(seats, await self._seated_ids(), request)
        policy = _renamed(self._discussion.turn_policy, self._ids)
        self._discussion.turn_policy = settle_policy(policy, table_of(self._discussion, participants).seats)
        self._say_forked(participants)
        return participants

    async def _copy_seats(self) -> list[Participant]:
        originals = await self._work.discussions.list_seats(self._parent.id)
        self._ids = {str(seat.id): str(new_id()) for seat in originals}
        return [self._copied_seat(seat) for seat in originals]

    def _copied_seat(self, seat: Participant) -> Participant:
        return Participant(
            id=UUID(self._ids[str(seat.id)]),
            workspace_id=seat.workspace_id,
            discussion_id=self._discussion.id,
            position=seat.position,
            kind=seat.kind,
            role=seat.role,
            handle=seat.handle,
            name=seat.name,
            agent_id=seat.agent_id,
            agent_version=seat.agent_version,
            user_id=seat.user_id,
            model=seat.model,
            joined_turn=seat.joined_turn,
            stands_in_for=UUID(self._ids[str(seat.stands_in_for)]) if seat.stands_in_for else None,
        )

    async def _copy_log(self) -> None:
        """Event by event, under the same numbers; the rows of messages and turns with them."""
        after = 0
        while after < self._at_seq:
            page = await self._work.log.after(self._parent.id, after, min(PAGE, self._at_seq - after))
            self._note_new_ids(page)
            await self._work.log.copy(self._discussion, [self._copied_event(event) for event in page])
            after = page[-1].seq
        await self._work.messages.copy(self._parent.id, self._discussion.id, self._at_seq, self._ids)
        await self._work.messages.copy_turns(self._parent.id, self._discussion.id, self._state["turn"], self._ids)

    def _note_new_ids(self, page: Iterable[StoredEvent]) -> None:
        for event in page:
            if event.type in {events.TURN_STARTED, events.MESSAGE_COMPLETED} and event.visible_to is None:
                data = orjson.loads(event.payload)
                self._ids.setdefault(data.get("message_id") or data["id"], str(new_id()))

    def _copied_event(self, event: StoredEvent) -> tuple[str, Event]:
        """(when it happened, the event under the fork's ids)."""
        self._follow(event)
        copied = as_copied(event)
        original = orjson.loads(copied.payload)
        if original.get("reply_to") not in self._ids:
            original |= {"reply_to": None} if "reply_to" in original else {}
        said = {"content": original["content"]} if "content" in original else {}
        return event.created_at, Event(copied.type, {**_renamed(original, self._ids), **said})

    def _follow(self, event: StoredEvent) -> None:
        """Keep the state as of the event; what the policy kept for a turn that is still open does not count."""
        turn = self._state["turn"]
        data = _renamed(orjson.loads(event.payload), self._ids)
        self._state = snapshot.apply(self._state, event.seq, event.type, data)
        if self._state["turn"] != turn:
            self._settled = self._state["policy_state"]
        if event.type == events.DISCUSSION_UPDATED and "turn_policy" in data:
            self._settled = None
            self._state["policy_state"] = None

    def _take_state(self, seats: list[Participant], request: DiscussionFork) -> None:
        """What the copied log says of the discussion."""
        state, discussion = self._state, self._discussion
        discussion.turn = state["turn"]
        last = next((seat for seat in seats if str(seat.id) == state["last_speaker_id"]), None)
        discussion.last_speaker_id = (last.stands_in_for or last.id) if last else None
        discussion.prompt_tokens = state["usage"]["prompt_tokens"]
        discussion.completion_tokens = state["usage"]["completion_tokens"]
        discussion.cost_usd = state["usage"]["cost_usd"]
        if request.turn_policy is None and not self._policy_is_newer:
            discussion.policy_state = dict(self._settled) if self._settled is not None else None

    async def _seated_ids(self) -> set[str]:
        """Who was at the table at that point; of a rerun, who began."""
        if self._at_seq:
            return {one["id"] for one in self._state["participants"]}
        [created] = await self._work.log.after(self._parent.id, 0, 1)
        return {self._ids[one["id"]] for one in orjson.loads(created.payload)["participants"]}

    async def _line_up(self, seats: list[Participant], seated: set[str], request: DiscussionFork) -> list[Participant]:
        """The seats that were at the table, or those asked for: who was there before keeps their seat."""
        for seat in seats:
            seat.left_at = None if str(seat.id) in seated else self._parent.updated_at
            seat.joined_turn = min(seat.joined_turn, self._discussion.turn)
        if request.participants is None:
            await self._leave_out_strangers(seats)
        else:
            seats = await self._seated_anew(seats, request.participants)
        if request.model is not None:
            for seat in seats:
                seat.model = request.model if seat.kind == "llm" else seat.model
        return seats

    async def _leave_out_strangers(self, seats: list[Participant]) -> None:
        """Who is no member of the workspace any more is not at the table, nor is who stood in for them."""
        present = [seat for seat in seats if seat.left_at is None]
        strangers = {seat.id for seat in await strangers_among(self._work, self._discussion, present)}
        for seat in present:
            if not strangers.isdisjoint({seat.id, seat.stands_in_for}):
                seat.left_at = self._parent.updated_at
        if strangers and not any(seat.role in SPEAKING_ROLES and seat.left_at is None for seat in seats):
            raise UserNotFound("nobody who spoke is in this workspace any more; say who takes part in the fork")

    async def _seated_anew(self, seats: list[Participant], wanted: list[ParticipantCreate]) -> list[Participant]:
        known = [find_seat(seats, one) for one in wanted]
        kept = [seat for seat in known if seat is not None]
        _check_not_named_twice(kept)
        await check_members(self._work, self._discussion, kept)
        new = [one for one, seat in zip(wanted, known, strict=True) if seat is None]
        added = await seat_all(self._work, self._discussion, new, seats)
        newcomers = iter(added)
        line_up = [seat or next(newcomers) for seat in known]
        for one, seat in zip(wanted, line_up, strict=True):
            seat.role, seat.model = one.role, one.model or seat.model
        line_up += await seat_stand_ins(self._work, self._discussion, wanted, line_up, [*seats, *added])
        for seat in line_up:
            self._work.discussions.add_participant(seat)
        table = list({seat.id: seat for seat in (*seats, *line_up)}.values())
        for position, seat in enumerate(line_up, next_position(table)):  # in the order asked for
            seat.position = position
        for seat in table:
            seat.left_at = None if seat in line_up else self._parent.updated_at
        return sorted(table, key=lambda seat: seat.position)

    def _say_forked(self, participants: list[Participant]) -> None:
        discussion = self._discussion
        shown = [participant_data(seat) for seat in participants if seat.left_at is None]
        if not self._at_seq:
            self._work.log.append(discussion, events.discussion_created(discussion.topic, discussion.title, shown))
        now = read_discussion(discussion, []).model_dump(mode="json", include=_RESTATED)
        forked = events.discussion_forked(self._parent.id, self._at_seq, {**now, "participants": shown})
        self._work.log.append(discussion, forked)


def _check_not_named_twice(seats: list[Participant]) -> None:
    if len({seat.id for seat in seats}) < len(seats):
        raise DuplicateParticipant("the same agent or person is named twice")


def _renamed(value: Any, ids: Mapping[str, str]) -> Any:
    """The value with every id that has a new one replaced."""
    if isinstance(value, dict):
        return {ids.get(name, name): part if name in _WORDS else _renamed(part, ids) for name, part in value.items()}
    if isinstance(value, list):
        return [_renamed(part, ids) for part in value]
    return ids.get(value, value) if isinstance(value, str) and len(value) == UUID_LENGTH else value


UUID_LENGTH = 36
# Somebody may say nothing but an id.
_WORDS = frozenset({"content", "topic", "title", "instructions"})
