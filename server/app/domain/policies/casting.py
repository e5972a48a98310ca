"""Who takes which role of a ready format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.domain.policies.base import Seat
from app.domain.policies.errors import InvalidTurnPolicy
from app.domain.policies.references import find_seat, get_seats

Named = Mapping[str, Sequence[str]]
"""References of seats, by role."""


@dataclass(frozen=True, slots=True)
class Role:
    """A part in a format. Unless seats are named for it, `lead` roles go to a moderator, and if they must be filled to
    the first seat; the others share those who are left, turn by turn. `most` None: as many as there are.
    """

    name: str
    title: str
    description: str
    least: int = 1
    most: int | None = None
    is_lead: bool = False


Cast = dict[str, list[Seat]]


def cast(roles: Sequence[Role], roster: Sequence[Seat], named: Named) -> Cast:
    """Seats by role, in seating order; who was named and is not there is passed over."""
    filled: Cast = {role.name: [] for role in roles}
    for role in roles:
        found = (find_seat(reference, roster) for reference in named.get(role.name, ()))
        filled[role.name] += [seat for seat in found if seat]
    for role in roles:
        if role.is_lead and not filled[role.name]:
            filled[role.name] += _lead(role, _left(filled, roster))
    sharing = [role for role in roles if not role.is_lead and not named.get(role.name)]
    for number, seat in enumerate(_left(filled, roster) if sharing else ()):
        filled[sharing[number % len(sharing)].name].append(seat)
    return filled


def check_cast(roles: Sequence[Role], roster: Sequence[Seat], named: Named) -> None:
    """Everybody named is at the table and has one role, and every role has as many as it needs."""
    for name in named:
        if all(role.name != name for role in roles):
            known = ", ".join(role.name for role in roles)
            raise InvalidTurnPolicy(f"turn_policy: the format has no role {name!r}, but {known}", "seats", name)
    taken: list[Seat] = []
    for name, references in named.items():
        for seat in get_seats(references, roster, "seats", name):
            if seat in taken:
                raise InvalidTurnPolicy(f"turn_policy: @{seat.handle} has two roles", "seats", name)
            taken.append(seat)
    filled = cast(roles, roster, named)
    for role in roles:
        count = len(filled[role.name])
        if count < role.least or (role.most is not None and count > role.most):
            raise InvalidTurnPolicy(
                f"turn_policy: the role {role.name!r} needs {_wanted(role)}, and {count} would take it",
                *("seats", role.name),
            )


def _lead(role: Role, left: Sequence[Seat]) -> Sequence[Seat]:
    moderators = [seat for seat in left if seat.role == "moderator"]
    return (moderators or (left if role.least else []))[:1]


def _left(filled: Cast, roster: Sequence[Seat]) -> list[Seat]:
    taken = [seat for seats in filled.values() for seat in seats]
    return [seat for seat in roster if seat not in taken]


def _wanted(role: Role) -> str:
    if role.most is None:
        return f"at least {role.least}"
    return str(role.least) if role.least == role.most else f"{role.least} to {role.most}"
