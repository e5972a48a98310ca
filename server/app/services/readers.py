"""What the caller may read of a discussion."""

from collections.abc import Iterable
from uuid import UUID

from app.domain.permissions import Permission, allows
from app.domain.visibility import Reader
from app.models import Participant
from app.services.auth import Actor
from app.services.unit_of_work import UnitOfWork


async def reader_of(work: UnitOfWork, actor: Actor, discussion_id: UUID) -> Reader:
    """Costs a query unless the actor may read everything."""
    if actor.may(Permission.DISCUSSIONS_CONTROL):
        return Reader(actor.user_id, sees_all=True)
    return Reader(actor.user_id, frozenset(await work.discussions.list_seat_ids(discussion_id, actor.user_id)))


async def find_reader(work: UnitOfWork, user_id: UUID, discussion_id: UUID) -> Reader | None:
    """The same of somebody's present role, with one query; None for who may not read discussions here any more."""
    role, seat_ids = await work.discussions.find_standing(discussion_id, user_id)
    if role is None or not allows(role, Permission.DISCUSSIONS_READ):
        return None
    return Reader(user_id, frozenset(seat_ids), allows(role, Permission.DISCUSSIONS_CONTROL))


def reader_among(actor: Actor, participants: Iterable[Participant]) -> Reader:
    """The same, of seats that are at hand."""
    seats = frozenset(seat.id for seat in participants if seat.user_id == actor.user_id)
    return Reader(actor.user_id, seats, actor.may(Permission.DISCUSSIONS_CONTROL))
