"""Who may follow which discussion, and from where on."""

from uuid import UUID

from app.core.errors import NotFound
from app.domain.visibility import Reader
from app.services.auth import Actor, CurrentUser
from app.services.live.position import EventIdAhead, Position
from app.services.readers import reader_of
from app.services.unit_of_work import UnitOfWorkFactory


class Viewings:
    """Admits viewers; what becomes of their rights later is the business of `live.streams`."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow

    async def actor(self, user: CurrentUser, discussion_id: UUID) -> Actor:
        """The user in the workspace that the discussion belongs to, whichever of theirs it is."""
        async with self._uow.reading() as work:
            workspace_id = await work.log.workspace_of(discussion_id)
        if workspace_id is None or not user.belongs_to(workspace_id):
            raise NotFound("there is no such discussion")
        return user.actor(workspace_id)

    async def begin(self, actor: Actor, discussion_id: UUID, position: Position) -> Position:
        """Let the actor in at the position; raise `EventIdAhead` if the log does not reach there."""
        async with self._uow.reading(actor.workspace_id) as work:
            discussion = await work.discussions.get(discussion_id)
            reader: Reader = await reader_of(work, actor, discussion_id)
        if position.seq > discussion.last_seq:
            raise EventIdAhead(f"the log ends at {discussion.last_seq}")
        position.live_from = discussion.last_seq
        position.reader = reader
        return position
