"""A script: phases in which named people speak so many rounds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from app.domain.limits import MAX_TURNS
from app.domain.policies.base import Brief, Choice, History, Seat, SelfDeciding
from app.domain.policies.casting import Named, cast, check_cast
from app.domain.policies.errors import InvalidTurnPolicy
from app.domain.policies.formats import FORMATS, Format
from app.domain.policies.phases import Phase


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the script: `done` have had the floor in the round, `since` is the turn count when the phase began."""

    phase: int
    round: int
    done: Sequence[str]
    since: int


class Scripted(SelfDeciding):
    """Everybody whom a phase names has the floor once a round, in its order; after the last phase it is over.

    Who joins speaks in what follows if the phase's words include them; who leaves is passed over, and so is a phase
    that nobody is left for. The script is the promise here: nobody is given the floor for having waited.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self._format: Format | None = FORMATS[self.config["format"]] if self.config.get("format") else None
        self._named = named_seats(self.config)
        if self._format is not None:
            self._phases = self._format.script(self.config.get("rounds"))
        else:
            self._phases = [Phase.of(phase, number) for number, phase in enumerate(self.config["phases"], 1)]

    def candidates(self, roster: Sequence[Seat]) -> Sequence[Seat]:
        return ()

    def next_speaker(self, roster: Sequence[Seat], history: History, rng: Random) -> Choice | None:
        place = _place(history)
        while place.phase < len(self._phases):
            phase = self._phases[place.phase]
            speakers = self._speakers(phase, roster)
            for role, seat in speakers:
                if str(seat.participant_id) not in place.done:
                    return self._choice(phase, place, role, seat)
            if speakers and place.round < phase.rounds:
                place = _Place(place.phase, place.round + 1, (), place.since)
            else:
                place = _Place(place.phase + 1, 1, (), history.turn)
        return None

    def brief(self, seat: Seat, state: Mapping[str, Any] | None) -> Brief:
        place = _place_in(state)
        if place is None or place.phase >= len(self._phases):
            return Brief()
        phase = self._phases[place.phase]
        role = state.get("role") if state else None
        return Brief(
            instruction=phase.instructions.get(str(role), phase.instruction),
            blind_since=place.since if phase.is_blind else None,
            is_anonymous=phase.is_anonymous,
        )

    @staticmethod
    def check(config: Mapping[str, Any], roster: Sequence[Seat]) -> None:
        """Everybody named is at the table, every phase has speakers, every role of a format its people."""
        script = Scripted(config)
        if script._format is not None:
            check_cast(script._format.roles, roster, script._named)
        else:
            for number, phase in enumerate(script._phases):
                phase.check(roster, number)
        if sum(phase.rounds * len(script._speakers(phase, roster)) for phase in script._phases) > MAX_TURNS:
            raise InvalidTurnPolicy(f"turn_policy: the script has more than {MAX_TURNS} turns", "phases")

    def _speakers(self, phase: Phase, roster: Sequence[Seat]) -> list[tuple[str | None, Seat]]:
        """(role, seat) in the order of the round."""
        if self._format is None:
            return [(None, seat) for seat in phase.seats(roster)]
        roles = cast(self._format.roles, roster, self._named)
        return [(role, seat) for role, seat in _in_turn(phase.speakers, roles)]

    def _choice(self, phase: Phase, place: _Place, role: str | None, seat: Seat) -> Choice:
        done = [*place.done, str(seat.participant_id)]
        state = asdict(_Place(place.phase, place.round, done, place.since))
        if role is not None:
            state["role"] = role
        rounds = f" {place.round}/{phase.rounds}" if phase.rounds > 1 else ""
        return Choice(seat.participant_id, f"scripted: {phase.name}{rounds}", state)


def named_seats(config: Mapping[str, Any]) -> Named:
    """The seats that the configuration names for a format's roles."""
    seats = config.get("seats") or {}
    return {role: [named] if isinstance(named, str) else list(named) for role, named in seats.items()}


def settled(config: Mapping[str, Any], roster: Sequence[Seat]) -> Mapping[str, Any]:
    """A format's configuration with everybody's side in it, so that nobody changes sides when somebody leaves.

    Where only one role takes whoever has no other, it stays open to those who join.
    """
    if not config.get("format"):
        return config
    form, named = FORMATS[config["format"]], named_seats(config)
    filled = cast(form.roles, roster, named)
    open_roles = [role.name for role in form.roles if not role.is_lead and not named.get(role.name)]
    seats = {
        role: [seat.handle for seat in found]
        for role, found in filled.items()
        if found and (role not in open_roles or len(open_roles) > 1)
    }
    return {**config, "seats": seats}


def _in_turn(words: Iterable[str], roles: Mapping[str, Sequence[Seat]]) -> Iterable[tuple[str, Seat]]:
    """Sides of several take turns, so that arguments meet; a role's order is the seating's."""
    present = [(word, roles[word]) for word in words]
    for number in range(max((len(seats) for _, seats in present), default=0)):
        for word, seats in present:
            if number < len(seats):
                yield word, seats[number]


def _place(history: History) -> _Place:
    return _place_in(history.state) or _Place(0, 1, (), history.turn)


def _place_in(state: Mapping[str, Any] | None) -> _Place | None:
    """The place in a state of ours; None in the state of another policy, which a discussion may have had before."""
    state = state or {}
    numbers = [state.get(name) for name in ("phase", "round", "since")]
    done = state.get("done")
    if not isinstance(done, list | tuple) or not all(isinstance(number, int) for number in numbers):
        return None
    phase, number, since = numbers
    return _Place(int(phase or 0), int(number or 1), tuple(str(one) for one in done), int(since or 0))
