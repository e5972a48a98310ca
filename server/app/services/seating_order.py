"""The order of seats at a table: whoever comes, or comes back, sits at the end."""

from collections.abc import Iterable

from app.models import Participant


def next_position(seats: Iterable[Participant]) -> int:
    """The place behind everybody who was ever there; places are never taken twice, so there may be gaps."""
    return max((seat.position for seat in seats), default=-1) + 1
