"""Who may follow which discussion, and from where on."""

import asyncio
from uuid import UUID

from app.core.errors import NotFound
from app.domain.visibility import Reader
from app.models import Discussion
from app.services.auth import Actor, CurrentUser
from app.services.live.bus import LiveBus
from app.services.live.position import EventIdAhead, Position
from app.services.readers import reader_of
from app.services.unit_of_work import UnitOfWorkFactory

# A Valkey that came back with less than it had is told the whole text with the speaker's next words.
LOOKS, LOOK_SECONDS = 5, 0.2


class Viewings:
    """Admits viewers; what becomes of their rights later is the business of `live.streams`."""

    def __init__(self, uow: UnitOfWorkFactory, bus: LiveBus) -> None:
        self._uow = uow
        self._bus = bus

    async def actor(self, user: CurrentUser, discussion_id: UUID) -> Actor:
        """The user in the workspace that the discussion belongs to, whichever of theirs it is."""
        async with self._uow.reading() as work:
            workspace_id = await work.log.workspace_of(discussion_id)
        if workspace_id is None or not user.belongs_to(workspace_id):
            raise NotFound("there is no such discussion")
        return user.actor(workspace_id)

    async def begin(self, actor: Actor, discussion_id: UUID, position: Position) -> Position:
        """Let the actor in at the position; raise `EventIdAhead` if neither log nor text reach there."""
        async with self._uow.reading(actor.workspace_id) as work:
            discussion = await work.discussions.get(discussion_id)
            reader: Reader = await reader_of(work, actor, discussion_id)
        if position.seq > discussion.last_seq:
            raise EventIdAhead(f"the log ends at {discussion.last_seq}")
        if position.shown and position.seq == discussion.last_seq:
            await self._check_text(discussion, position.shown)
        position.live_from = discussion.last_seq
        position.reader = reader
        return position

    async def _check_text(self, discussion: Discussion, shown: int) -> None:
        """Raise `EventIdAhead` if it is known that so much of the open message was not shown to anybody yet."""
        message_id, attempt = discussion.turn_message_id, discussion.turn_attempt
        if message_id is None:
            return
        for look in range(LOOKS):
            if look:
                await asyncio.sleep(LOOK_SECONDS)
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    text = await self._bus.retained(discussion.id, message_id, attempt)
            except TimeoutError:
                return
            if not text or shown <= len(text):
                return
        raise EventIdAhead(f"the message that is being spoken has {len(text)} characters by now")
