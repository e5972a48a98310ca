"""Who may follow which discussion, and from where on."""

import asyncio
from contextlib import suppress
from uuid import UUID

from app.core.errors import NotFound
from app.domain.visibility import Reader
from app.models import Discussion
from app.services.callers import Actor, Callers, CurrentUser
from app.services.live.bus import LiveBus
from app.services.live.hub import Hub
from app.services.live.position import MOST_CHARACTERS_SPOKEN, EventIdAhead, Position
from app.services.readers import reader_of
from app.services.unit_of_work import UnitOfWorkFactory

LOOK_SECONDS = 0.2  # nobody waits longer for a Valkey that is frozen


class Viewings:
    """Admits viewers; what becomes of their rights later is the business of `live.streams`."""

    def __init__(self, uow: UnitOfWorkFactory, callers: Callers, bus: LiveBus, hub: Hub) -> None:
        self._uow = uow
        self._callers = callers
        self._bus = bus
        self._hub = hub

    async def actor(self, user: CurrentUser, discussion_id: UUID) -> Actor:
        """The user in the workspace that the discussion belongs to, whichever of theirs it is."""
        async with self._uow.reading() as work:
            workspace_id = await work.log.workspace_of(discussion_id)
        if workspace_id is not None:
            with suppress(NotFound):
                return await self._callers.in_workspace(user, workspace_id)
        raise NotFound("there is no such discussion")

    async def begin(self, actor: Actor, discussion_id: UUID, position: Position) -> Position:
        """Let the actor in at the position; raise `EventIdAhead` if nobody can have been there."""
        async with self._uow.reading(actor.workspace_id) as work:
            discussion = await work.discussions.get(discussion_id)
            reader: Reader = await reader_of(work, actor, discussion_id)
        if position.seq > discussion.last_seq:
            raise EventIdAhead(f"the log ends at {discussion.last_seq}")
        if position.shown and position.seq == discussion.last_seq:
            await self._look_for_text(discussion, position)
        position.live_from = discussion.last_seq
        position.reader = reader
        return position

    async def _look_for_text(self, discussion: Discussion, position: Position) -> None:
        """Have text taken back that is known nowhere any more or was not spoken yet; `EventIdAhead` if it never can be.

        The id may still be one that a stream gave, of before Valkey came back with less than it had: then waiting for
        the text could leave a hole, and a refusal would keep a viewer out who did nothing wrong.
        """
        message_id, attempt = discussion.turn_message_id, discussion.turn_attempt
        if message_id is None:
            return
        if position.shown > MOST_CHARACTERS_SPOKEN:
            raise EventIdAhead(f"no message has more than {MOST_CHARACTERS_SPOKEN} characters")
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                retained = await self._bus.retained(discussion.id, message_id, attempt)
        except TimeoutError:
            return
        heard = self._hub.heard(discussion.id, message_id, attempt)
        if retained.text and position.shown > max(len(retained.text), len(heard.text)):
            position.contradiction = f"the message that is being spoken has {len(retained.text)} characters by now"
