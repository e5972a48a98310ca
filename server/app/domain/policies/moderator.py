"""One of the agents chooses who speaks."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any
from uuid import UUID

from app.domain.policies.answers import find_object
from app.domain.policies.base import (
    Choice,
    History,
    Question,
    Seat,
    SelfDeciding,
    longest_waiting,
    others_than_last,
)
from app.domain.policies.errors import InvalidTurnPolicy
from app.domain.policies.references import find_seat, get_seat, named


class Moderator(SelfDeciding):
    """The moderator is asked before every turn; without a usable answer the longest-waiting eligible seat speaks.

    Eligible is who takes turns (the moderator only if `moderator_speaks`) and, unless `allow_repeat`, was not the
    last to speak. The fallback never gives the floor to the last speaker. Where only one is eligible, nobody is asked.
    """

    def candidates(self, roster: Sequence[Seat]) -> Sequence[Seat]:
        moderator = find_moderator(self.config, roster)
        if self.config.get("moderator_speaks"):
            return roster
        return [seat for seat in roster if seat != moderator] or roster

    def questions(self, roster: Sequence[Seat], history: History) -> Sequence[Question]:
        moderator, eligible = find_moderator(self.config, roster), self._eligible(roster, history)
        if moderator is None or len(eligible) < 2:
            return ()
        others = self.candidates(roster)
        return [
            Question(
                moderator.participant_id,
                _text(eligible),
                lambda answer: parse_choice(answer, others, eligible),
                _schema(eligible),
                max_tokens=60,
            )
        ]

    def next_speaker(self, roster: Sequence[Seat], history: History, rng: Random) -> Choice:
        eligible = self._eligible(roster, history)
        if len(eligible) == 1:
            return Choice(eligible[0].participant_id, "moderator: nobody else")
        moderator = find_moderator(self.config, roster)
        answer = history.answers.get(moderator.participant_id) if moderator else None
        if moderator and any(seat.participant_id == answer for seat in eligible):
            return Choice(answer, f"moderator: chosen by @{moderator.handle}")
        waiting = longest_waiting(others_than_last(eligible, history), history)
        why = "no usable answer" if moderator else "no moderator at the table"
        return Choice(waiting.participant_id, f"moderator fallback: {why}, longest waiting")

    def _eligible(self, roster: Sequence[Seat], history: History) -> Sequence[Seat]:
        candidates = self.candidates(roster)
        return candidates if self.config.get("allow_repeat") else others_than_last(candidates, history)

    @staticmethod
    def check(config: Mapping[str, Any], roster: Sequence[Seat]) -> None:
        """The moderator sits at the table, can be asked, and has somebody to choose from."""
        reference = config.get("moderator")
        if reference:
            moderator: Seat | None = get_seat(reference, roster, "turn_policy", "moderator")
        else:
            moderator = next((seat for seat in roster if seat.role == "moderator"), None)
        if moderator is None:
            raise InvalidTurnPolicy(
                "turn_policy: no moderator at the table; give a participant the role or name one", "moderator"
            )
        if moderator.needs_waiting:
            raise InvalidTurnPolicy(
                f"turn_policy: @{moderator.handle} has no model that could choose; for people there is `manual`",
                "moderator",
            )
        if len(roster) == 1:
            raise InvalidTurnPolicy("turn_policy: the moderator has nobody to choose from", "moderator")


def find_moderator(config: Mapping[str, Any], roster: Sequence[Seat]) -> Seat | None:
    """Who chooses: whom the configuration names, else the first agent with that role."""
    reference = config.get("moderator")
    if reference:
        seat = find_seat(reference, roster)
        return None if seat is None or seat.needs_waiting else seat
    return next((seat for seat in roster if seat.role == "moderator" and not seat.needs_waiting), None)


def parse_choice(text: str, others: Sequence[Seat], eligible: Sequence[Seat]) -> UUID | None:
    """Whom an answer chooses: `{"next": …}`, or the only one of the others that a free text names, if eligible."""
    found = find_object(text)
    if found is not None:
        wanted = str(found.get("next") or "").strip().casefold()
        chosen = [find_seat(wanted, others)] if wanted else []
        if chosen == [None]:
            chosen = [seat for seat in others if seat.name.casefold() == wanted]
    else:
        chosen = list(named(text, others))
    if len(chosen) == 1 and chosen[0] is not None and chosen[0] in eligible:
        return chosen[0].participant_id
    return None


def _text(eligible: Sequence[Seat]) -> str:
    handles = ", ".join(seat.handle for seat in eligible)
    return (
        f"You lead this discussion and decide who speaks next. Choose one of: {handles}. "
        f'Answer with nothing but JSON: {{"next": "<one of these>"}}'
    )


def _schema(eligible: Sequence[Seat]) -> Mapping[str, Any]:
    return {
        "type": "object",
        "properties": {"next": {"type": "string", "enum": [seat.handle for seat in eligible]}},
        "required": ["next"],
        "additionalProperties": False,
    }
