"""Discussions: open, show, change, delete."""

from collections.abc import Sequence
from uuid import UUID

from app.core.errors import Conflict, Forbidden, Invalid, NotFound, PreconditionFailed
from app.core.ids import new_id
from app.domain import events
from app.domain.discussion import Status
from app.domain.handles import derive_handle, free_handle
from app.domain.permissions import Permission
from app.domain.policies import History, settle_policy
from app.models import Discussion, Participant
from app.schemas.base import Page
from app.schemas.discussion import DiscussionCreate, DiscussionRead, DiscussionUpdate, ParticipantCreate
from app.schemas.policies import policy_data
from app.services.auth import Actor
from app.services.discussion_flow import begin, queue_driver
from app.services.discussion_views import participant_data, read_discussion, table_of
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory


class AgentNotFound(NotFound):
    """A participant names an agent that the workspace does not have."""

    code = "agent_not_found"


class UserNotFound(NotFound):
    """A participant names somebody who is no member of the workspace."""

    code = "user_not_found"


class DocumentNotFound(NotFound):
    """A discussion names a document that the workspace does not have."""

    code = "document_not_found"


class DuplicateParticipant(Invalid):
    """The same agent or person twice."""

    code = "duplicate_participant"


class UnsupportedSeat(Invalid):
    """That kind of participant cannot take a seat yet."""

    code = "unsupported_seat"


class NotEditable(Conflict):
    """The field can be changed in a draft only."""

    code = "not_editable"


def require_control(actor: Actor, discussion: Discussion) -> None:
    """Raise `Forbidden` unless the actor may run this discussion: its own, or anybody's."""
    if discussion.created_by == actor.user_id:
        actor.require(Permission.DISCUSSIONS_WRITE)
    elif not actor.may(Permission.DISCUSSIONS_CONTROL):
        raise Forbidden("only its creator or a moderator may do this to the discussion")


class DiscussionService:
    """The workspace's discussions."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow

    async def create(self, actor: Actor, request: DiscussionCreate) -> DiscussionRead:
        """Open a discussion with its seats and, unless a draft is wanted, give the first speaker the floor."""
        async with self._uow(actor.workspace_id) as work:
            await _check_documents(work, request.document_ids)
            discussion = _new_discussion(actor, request)
            participants = await _seat_all(work, discussion, request.participants)
            discussion.turn_policy = settle_policy(discussion.turn_policy, table_of(discussion, participants).seats)
            shown = [participant_data(participant) for participant in participants]
            work.log.append(discussion, events.discussion_created(discussion.topic, discussion.title, shown))
            if request.start:
                begin(work, discussion, participants, History(0, None))
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
        """Change the title at any time, the rest while it is a draft."""
        async with self._uow(actor.workspace_id) as work:
            discussion = await work.discussions.get_for_update(discussion_id)
            require_control(actor, discussion)
            if expected_version is not None and discussion.version != expected_version:
                raise PreconditionFailed(f"the discussion is at version {discussion.version} by now")
            changed = request.model_fields_set
            if changed - {"title"} and discussion.status != Status.DRAFT:
                raise NotEditable(f"only the title of a {discussion.status} discussion can be changed")
            for name, value in request.model_dump(include=changed).items():
                setattr(discussion, name, value)
            if changed:
                discussion.version += 1
            seats = await work.discussions.list_participants([discussion_id])
        return read_discussion(discussion, seats[discussion_id])

    async def delete(self, actor: Actor, discussion_id: UUID) -> None:
        """Delete the discussion with all that was said; a turn in progress is cut."""
        async with self._uow(actor.workspace_id) as work:
            discussion = await work.discussions.get_for_update(discussion_id)
            require_control(actor, discussion)
            await work.discussions.delete(discussion)


def _new_discussion(actor: Actor, request: DiscussionCreate) -> Discussion:
    return Discussion(
        id=new_id(),
        workspace_id=actor.workspace_id,
        created_by=actor.user_id,
        status=Status.DRAFT,
        turn=0,
        last_seq=0,
        version=1,
        epoch=0,
        prompt_tokens=0,
        completion_tokens=0,
        cost_usd=0,
        topic=request.topic,
        title=request.title,
        instructions=request.instructions,
        document_ids=request.document_ids,
        turn_policy=policy_data(request.turn_policy),
        limits=request.limits.model_dump(mode="json"),
        stop_when=[condition.model_dump(mode="json") for condition in request.stop_when],
        priority=request.priority,
        seed=request.seed,
        on_turn_failure=request.on_turn_failure,
        waiting=request.waiting.model_dump(mode="json"),
        pause_requested=False,
        warned=[],
        failed_in_a_row=0,
    )


async def _check_documents(work: UnitOfWork, document_ids: Sequence[UUID]) -> None:
    if not document_ids:
        return
    missing = set(document_ids) - await work.knowledge.find_document_ids(document_ids)
    if missing:
        raise DocumentNotFound(f"there is no document {min(missing)}")


async def _seat_all(work: UnitOfWork, discussion: Discussion, wanted: Sequence[ParticipantCreate]) -> list[Participant]:
    """Seats in the order asked for; handles are made unique at this table."""
    agent_ids = [seat.agent_id for seat in wanted if seat.agent_id]
    user_ids = [seat.user_id for seat in wanted if seat.user_id]
    if len(set(agent_ids)) < len(agent_ids) or len(set(user_ids)) < len(user_ids):
        raise DuplicateParticipant("the same agent or person is named twice")
    agents = await work.agents.find_many(agent_ids)
    users = await work.accounts.find_members(discussion.workspace_id, user_ids) if user_ids else {}
    taken = {agent.handle for agent in agents.values()}
    seats: list[Participant] = []
    for position, seat in enumerate(wanted):
        participant = Participant(
            id=new_id(),
            workspace_id=discussion.workspace_id,
            discussion_id=discussion.id,
            position=position,
            role=seat.role,
        )
        if seat.agent_id is not None:
            agent = agents.get(seat.agent_id)
            if agent is None:
                raise AgentNotFound(f"there is no agent {seat.agent_id}")
            if agent.kind == "external":
                raise UnsupportedSeat(f"@{agent.handle} is an external agent, and those cannot take a seat yet")
            participant.kind, participant.handle, participant.name = agent.kind, agent.handle, agent.name
            participant.agent_id, participant.agent_version = agent.id, agent.version
        else:
            user = users.get(seat.user_id) if seat.user_id else None
            if user is None:
                raise UserNotFound(f"there is no user {seat.user_id} in this workspace")
            handle = free_handle(derive_handle(user.display_name), taken)
            taken.add(handle)
            participant.kind, participant.handle, participant.name = "human", handle, user.display_name
            participant.user_id = user.id
        seats.append(participant)
    return seats
