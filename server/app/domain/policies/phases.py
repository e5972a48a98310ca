"""The parts of a script: phases, and who speaks in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.domain.policies.base import Seat
from app.domain.policies.errors import InvalidTurnPolicy
from app.domain.policies.references import find_seat, get_seats

ALL, OTHERS, MODERATOR = "all", "others", "moderator"
SELECTORS = frozenset({ALL, OTHERS, MODERATOR})


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a script: each of the speakers has the floor once a round, in that order.

    `speakers` are references and selectors, or roles where the script is a format's; `excluded` are references.
    `instructions` are what a role of the format is told instead of `instruction`.
    """

    name: str
    speakers: Sequence[str]
    rounds: int = 1
    instruction: str | None = None
    is_blind: bool = False
    is_anonymous: bool = False
    excluded: Sequence[str] = ()
    instructions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Mapping[str, Any], number: int) -> "Phase":
        """As it is configured; `number` names a phase without a name."""
        speakers = config.get("speakers") or ()
        return cls(
            name=config.get("name") or f"phase {number}",
            speakers=(speakers,) if isinstance(speakers, str) else tuple(speakers),
            rounds=config.get("rounds") or 1,
            instruction=config.get("instruction"),
            is_blind=bool(config.get("blind")),
            is_anonymous=bool(config.get("anonymous")),
            excluded=tuple(config.get("except") or ()),
        )

    def seats(self, roster: Sequence[Seat]) -> list[Seat]:
        """Who of the roster speaks in it, each once; references to people who are not there are passed over."""
        chosen: list[Seat] = []
        excluded = [find_seat(reference, roster) for reference in self.excluded]
        for word in self.speakers:
            chosen += [seat for seat in _named(word, roster) if seat not in chosen]
        return [seat for seat in chosen if seat not in excluded]

    def check(self, roster: Sequence[Seat], number: int) -> None:
        """Everybody it names is at the table, once, and somebody is left to speak."""
        get_seats([word for word in self.speakers if not _selects(word, roster)], roster, "phases", number, "speakers")
        get_seats(self.excluded, roster, "phases", number, "except")
        if not self.seats(roster):
            raise InvalidTurnPolicy(
                f"turn_policy: the phase {self.name!r} has no speakers", "phases", number, "speakers"
            )


def _selects(word: str, roster: Sequence[Seat]) -> bool:
    """Whether the word is a selector; `moderator` is also a handle where nobody has that role."""
    return word in SELECTORS and (word != MODERATOR or bool(_moderators(roster)) or find_seat(word, roster) is None)


def _named(word: str, roster: Sequence[Seat]) -> Sequence[Seat]:
    if not _selects(word, roster):
        seat = find_seat(word, roster)
        return [seat] if seat else []
    moderators = _moderators(roster)
    if word == MODERATOR:
        return moderators
    return roster if word == ALL else [seat for seat in roster if seat not in moderators]


def _moderators(roster: Sequence[Seat]) -> list[Seat]:
    return [seat for seat in roster if seat.role == "moderator"]
