"""What the caller may read of a discussion."""

from collections.abc import Iterable
from uuid import UUID

from app.domain.permissions import Permission
from app.domain.visibility import Reader
from app.models import Participant
from app.services.callers import Actor
from app.services.unit_of_work import UnitOfWork


async def reader_of(work: UnitOfWork, actor: Actor, discussion_id: UUID) -> Reader:
    """Costs a query; the seats are those of whoever reads everything too, who may lose that right while watching."""
    seats = frozenset(await work.discussions.list_seat_ids(discussion_id, actor.user_id))
    return Reader(actor.user_id, seats, actor.may(Permission.DISCUSSIONS_CONTROL))


def reader_among(actor: Actor, participants: Iterable[Participant]) -> Reader:
    """The same, of seats that are at hand."""
    seats = frozenset(seat.id for seat in participants if seat.user_id == actor.user_id)
    return Reader(actor.user_id, seats, actor.may(Permission.DISCUSSIONS_CONTROL))
