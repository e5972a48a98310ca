"""Discussions: open, show, change, delete."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from app.core.errors import Conflict, Invalid, NotFound, PreconditionFailed
from app.core.ids import new_id
from app.domain import events
from app.domain.audit import Action
from app.domain.budgets import marks_in
from app.domain.discussion import Status
from app.domain.handles import free_handle, person_handle
from app.domain.policies import History, settle_policy
from app.models import Discussion, Participant
from app.schemas.base import Page
from app.schemas.discussion import DiscussionCreate, DiscussionRead, DiscussionUpdate, ParticipantCreate
from app.schemas.policies import policy_data
from app.services.ai_models import ModelCatalog
from app.services.callers import Actor, UserNotFound
from app.services.discussion_access import require_control
from app.services.discussion_flow import begin, queue_driver, take_floor
from app.services.discussion_views import participant_data, read_discussion, table_of
from app.services.seating_order import next_position
from app.services.stand_ins import AgentNotFound, seat_stand_ins
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory


class DocumentNotFound(NotFound):
    """A discussion names a document that the workspace does not have."""

    code = "document_not_found"


class DocumentUnusable(Conflict):
    """A discussion names a document that nothing can be read of."""

    code = "document_unusable"


class DocumentNotReady(Conflict):
    """A discussion names a document of which nothing is read yet."""

    code = "document_not_ready"


class DuplicateParticipant(Invalid):
    """The same agent or person twice."""

    code = "duplicate_participant"
    where = ("body", "participants")


class NotEditable(Conflict):
    """The field can be changed in a draft and in a paused discussion only."""

    code = "not_editable"


EDITABLE = frozenset({Status.DRAFT, Status.PAUSED})


class DiscussionService:
    """The workspace's discussions."""

    def __init__(self, uow: UnitOfWorkFactory, models: ModelCatalog) -> None:
        self._uow = uow
        self._models = models

    async def create(self, actor: Actor, request: DiscussionCreate) -> DiscussionRead:
        """Open a discussion with its seats and, unless a draft is wanted, give the first speaker the floor."""
        await check_models(self._models, actor.workspace_id, request.participants)
        async with self._uow(actor.workspace_id) as work:
            await _check_documents(work, request.document_ids)
            discussion = _new_discussion(actor, request)
            participants = await seat_all(work, discussion, request.participants)
            participants += await seat_stand_ins(work, discussion, request.participants, participants)
            discussion.turn_policy = settle_policy(discussion.turn_policy, table_of(discussion, participants).seats)
            shown = [participant_data(participant) for participant in participants]
            work.log.append(discussion, events.discussion_created(discussion.topic, discussion.title, shown))
            if request.start:
                begin(work, discussion, participants, History(0, None))
            work.audit.record(Action.DISCUSSION_CREATED, actor, discussion.id, is_started=request.start)
            await work.discussions.add(discussion, participants)
            await queue_driver(work, discussion)
        return read_discussion(discussion, participants)

    async def get(self, actor: Actor, discussion_id: UUID) -> DiscussionRead:
        async with self._uow.reading(actor.workspace_id) as work:
            discussion = await work.discussions.get(discussion_id)
            seats = await work.discussions.list_participants([discussion_id])
        return read_discussion(discussion, seats[discussion_id])

    async def list_page(
        self, actor: Actor, *, status: Status | None, text: str | None, limit: int, cursor: str | None
    ) -> Page[DiscussionRead]:
        """Newest first; `text` is looked for in topics and titles."""
        async with self._uow.reading(actor.workspace_id) as work:
            rows, following = await work.discussions.list_page(status=status, text=text, limit=limit, cursor=cursor)
            seats = await work.discussions.list_participants([row.id for row in rows])
        return Page(items=[read_discussion(row, seats[row.id]) for row in rows], next_cursor=following)

    async def update(
        self, actor: Actor, discussion_id: UUID, request: DiscussionUpdate, expected_version: int | None
    ) -> DiscussionRead:
        """Change the title at any time, the rest while it is a draft or paused."""
        async with self._uow(actor.workspace_id) as work:
            discussion = await work.discussions.get_for_update(discussion_id)
            require_control(actor, discussion)
            if expected_version is not None and discussion.version != expected_version:
                raise PreconditionFailed(f"the discussion is at version {discussion.version} by now")
            changed = request.model_dump(mode="json", include=request.model_fields_set)
            if changed.keys() - {"title"} and discussion.status not in EDITABLE:
                raise NotEditable(f"only the title of a {discussion.status} discussion can be changed; pause it first")
            seats = await work.discussions.list_seats(discussion_id)
            if request.turn_policy is not None:
                policy = policy_data(request.turn_policy)
                changed["turn_policy"] = settle_policy(policy, table_of(discussion, seats).seats)
            for group in changed.keys() & {"limits", "waiting"}:
                given = getattr(request, group)
                changed[group] = getattr(discussion, group) | given.model_dump(
                    mode="json", include=given.model_fields_set
                )
            if changed:
                _change(work, discussion, changed)
        return read_discussion(discussion, seats)

    async def delete(self, actor: Actor, discussion_id: UUID) -> None:
        """Delete the discussion with all that was said; a turn in progress is cut."""
        async with self._uow(actor.workspace_id) as work:
            discussion = await work.discussions.get_for_update(discussion_id)
            require_control(actor, discussion)
            await work.discussions.delete(discussion)
            work.audit.record(Action.DISCUSSION_DELETED, actor, discussion_id)


async def check_models(
    catalog: ModelCatalog, workspace_id: UUID, participants: Sequence[ParticipantCreate], of_all: str | None = None
) -> None:
    """Raise `UnknownModel` if a seat, or all of them, are to speak with a model that there is not."""
    names = [seat.model for seat in participants]
    if of_all is None and not any(names):
        return
    models = await catalog.of(workspace_id, of_all, *names)
    for place, name in enumerate(names):
        models.check(name, "body", "participants", place, "model")
    models.check(of_all, "body", "model")


def _change(work: UnitOfWork, discussion: Discussion, changed: Mapping[str, Any]) -> None:
    """Write the fields and log them; what was decided by an old rule is decided anew."""
    for name, value in changed.items():
        setattr(discussion, name, value)
    shown = dict(changed)
    if "turn_policy" in changed:
        discussion.policy_state = None
        if discussion.turn_message_id is None:
            take_floor(discussion)
            shown["next_speaker"] = None
    if "limits" in changed:
        discussion.warned, discussion.wrap_up = marks_in(discussion.warned), None
    discussion.version += 1
    work.log.append(discussion, events.discussion_updated(shown, discussion.version))


def blank_discussion(actor: Actor, **rules: Any) -> Discussion:
    """A draft of the actor's in which nothing has happened."""
    return Discussion(
        id=new_id(),
        workspace_id=actor.workspace_id,
        created_by=actor.user_id,
        status=Status.DRAFT,
        turn=0,
        last_seq=0,
        version=1,
        epoch=0,
        turn_attempt=0,
        turn_epoch=0,
        prompt_tokens=0,
        completion_tokens=0,
        cost_usd=0,
        pause_requested=False,
        warned=[],
        failed_in_a_row=0,
        **rules,
    )


def _new_discussion(actor: Actor, request: DiscussionCreate) -> Discussion:
    return blank_discussion(
        actor,
        topic=request.topic,
        title=request.title,
        instructions=request.instructions,
        document_ids=request.document_ids,
        turn_policy=policy_data(request.turn_policy),
        limits=_limits_of(request),
        stop_when=[condition.model_dump(mode="json") for condition in request.stop_when],
        priority=request.priority,
        seed=request.seed,
        on_turn_failure=request.on_turn_failure,
        waiting=request.waiting.model_dump(mode="json"),
    )


def _limits_of(request: DiscussionCreate) -> dict[str, Any]:
    """The limits asked for; a script that nobody set a number of turns for is not cut off before its end."""
    limits = request.limits.model_dump(mode="json")
    if request.turn_policy.type == "scripted" and "max_turns" not in request.limits.model_fields_set:
        limits["max_turns"] = None
    return limits


async def _check_documents(work: UnitOfWork, document_ids: Sequence[UUID]) -> None:
    if not document_ids:
        return
    found = await work.knowledge.find_states(document_ids)
    missing = set(document_ids) - found.keys()
    if missing:
        raise DocumentNotFound(f"there is no document {min(missing)}")
    for title, status, has_text in found.values():
        if has_text:  # it can be read, even if it is not found by searches yet
            continue
        if status == "failed":
            raise DocumentUnusable(f"the document “{title}” could not be read: its `error` says why")
        raise DocumentNotReady(f"the document “{title}” is still being read: wait until its `status` is `ready`")


def find_seat(participants: Iterable[Participant], wanted: ParticipantCreate) -> Participant | None:
    """The seat that is or was theirs."""
    ids = (wanted.agent_id, wanted.user_id)
    return next(
        (seat for seat in participants if seat.role != "stand_in" and (seat.agent_id, seat.user_id) == ids), None
    )


async def strangers_among(work: UnitOfWork, discussion: Discussion, seats: Iterable[Participant]) -> list[Participant]:
    """The people in these seats who are not, or no longer, members of the workspace."""
    people = [seat for seat in seats if seat.kind == "human"]
    user_ids = [seat.user_id for seat in people if seat.user_id]
    members = await work.accounts.find_members(discussion.workspace_id, user_ids) if user_ids else {}
    return [seat for seat in people if seat.user_id not in members]


async def check_members(work: UnitOfWork, discussion: Discussion, seats: Iterable[Participant]) -> None:
    """Raise `UserNotFound` if somebody in these seats is no member of the workspace any more."""
    for stranger in await strangers_among(work, discussion, seats):
        raise UserNotFound(f"there is no user {stranger.user_id} in this workspace")


async def seat_all(
    work: UnitOfWork,
    discussion: Discussion,
    wanted: Sequence[ParticipantCreate],
    present: Sequence[Participant] = (),
) -> list[Participant]:
    """New seats in the order asked for, after those present; handles are made unique at this table."""
    agent_ids = [seat.agent_id for seat in wanted if seat.agent_id]
    user_ids = [seat.user_id for seat in wanted if seat.user_id]
    if len(set(agent_ids)) < len(agent_ids) or len(set(user_ids)) < len(user_ids):
        raise DuplicateParticipant("the same agent or person is named twice")
    agents = await work.agents.find_many(agent_ids)
    users = await work.accounts.find_members(discussion.workspace_id, user_ids) if user_ids else {}
    taken = {agent.handle for agent in agents.values()} | {seat.handle for seat in present}
    seats: list[Participant] = []
    for position, seat in enumerate(wanted):
        participant = Participant(
            id=new_id(),
            workspace_id=discussion.workspace_id,
            discussion_id=discussion.id,
            position=next_position(present) + position,
            role=seat.role,
            model=seat.model,
            joined_turn=discussion.turn,
        )
        if seat.agent_id is not None:
            agent = agents.get(seat.agent_id)
            if agent is None:
                raise AgentNotFound(f"there is no agent {seat.agent_id}")
            handle = free_handle(agent.handle, {one.handle for one in (*present, *seats)})
            taken.add(handle)
            participant.kind, participant.handle, participant.name = agent.kind, handle, agent.name
            participant.agent_id, participant.agent_version = agent.id, agent.version
        else:
            user = users.get(seat.user_id) if seat.user_id else None
            if user is None:
                raise UserNotFound(f"there is no user {seat.user_id} in this workspace")
            handle = free_handle(person_handle(user.display_name), taken)
            taken.add(handle)
            participant.kind, participant.handle, participant.name = "human", handle, user.display_name
            participant.user_id = user.id
        seats.append(participant)
    return seats
