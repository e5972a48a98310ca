"""How participants are named: in a policy's configuration, and in what people and models write."""

import re
from collections.abc import Iterable, Sequence

from app.domain.policies.base import Seat
from app.domain.policies.errors import InvalidTurnPolicy, UnknownParticipant

# Not inside an e-mail address, and not the user of another server.
_MENTION = re.compile(r"(?<![a-z0-9_+%@-])@([a-z0-9_-]{1,32})(?![a-z0-9_@-])", re.IGNORECASE)
_SHORTEST_WORD = 3
"""A handle of fewer letters is a word by chance, unless it is written with its @ or stands alone."""


def find_seat(reference: str, roster: Iterable[Seat]) -> Seat | None:
    """The seat that a handle, an @handle, an agent's id or a participant's id names."""
    wanted = reference.strip().lower()
    handle = wanted.removeprefix("@")
    for seat in roster:
        if handle == seat.handle or wanted in {str(seat.participant_id), str(seat.agent_id)}:
            return seat
    return None


def get_seat(reference: str, roster: Sequence[Seat], *path: str | int) -> Seat:
    """The seat, or `UnknownParticipant`; `path` leads to the reference inside the request's body."""
    seat = find_seat(reference, roster)
    if seat is None:
        raise UnknownParticipant(f"nobody at the table is called {reference!r}", *path)
    return seat


def get_seats(references: Iterable[str], roster: Sequence[Seat], *path: str | int) -> list[Seat]:
    """The seats, each named once; `path` is inside `turn_policy`."""
    seats: list[Seat] = []
    for number, reference in enumerate(references):
        seat = get_seat(reference, roster, "turn_policy", *path, number)
        if seat in seats:
            raise InvalidTurnPolicy(f"turn_policy: @{seat.handle} is named twice", *path, number)
        seats.append(seat)
    return seats


def mentioned(text: str, seats: Sequence[Seat]) -> list[Seat]:
    """Whom the text addresses with @handle, in the order of the text, each once."""
    by_handle = {seat.handle: seat for seat in seats}
    found: list[Seat] = []
    for match in _MENTION.finditer(text):
        handle = match[1].lower()
        # `@skeptic--what` and `@skeptic_` are ways to write, unless they are somebody's handle.
        seat = by_handle.get(handle) or by_handle.get(handle.partition("--")[0].rstrip("-_"))
        if seat is not None and seat not in found:
            found.append(seat)
    return found


def named(text: str, seats: Sequence[Seat]) -> list[Seat]:
    """Whom a free text names: by @handle, or if it has none of these, by handles and names as whole words."""
    return mentioned(text, seats) or [seat for seat in seats if _is_named(text, seat)]


def _is_named(text: str, seat: Seat) -> bool:
    if text.strip(" \t\r\n.!\"'`*").casefold() in {seat.handle, seat.name.casefold()}:
        return True
    words = (word for word in (seat.handle, seat.name) if len(word) >= _SHORTEST_WORD)
    return any(re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text, re.IGNORECASE) for word in words)
