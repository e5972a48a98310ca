"""Agents say how much they want the floor; the highest bid gets it."""

import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from app.domain.policies.answers import find_object
from app.domain.policies.base import Choice, History, Question, Seat, SelfDeciding, others_than_last

MOST = 10
QUESTION = (
    f"How much do you want to speak next? 0: you have nothing to add. {MOST}: you must answer what was just said. "
    'Answer with nothing but JSON: {"bid": <0 to 10>}'
)
SCHEMA = {
    "type": "object",
    "properties": {"bid": {"type": "integer", "minimum": 0, "maximum": MOST}},
    "required": ["bid"],
    "additionalProperties": False,
}
_NUMBER = re.compile(r"(?<![\w.,-])(\d{1,3}(?:\.\d{1,3})?)(?:\s*(?:/|out of)\s*10)?(?![\w%]|[.,]\d)", re.IGNORECASE)


class Bidding(SelfDeciding):
    """All agents but the last speaker are asked at once; ties go to who has waited longest, then by seating order.

    No usable bid counts 0. People and external agents are not asked: they bid `default_bid`, and whoever has waited
    too long gets the floor whatever the others bid.
    """

    def questions(self, roster: Sequence[Seat], history: History) -> Sequence[Question]:
        bidders = others_than_last(roster, history)
        if len(bidders) < 2:
            return ()
        return [
            Question(seat.participant_id, QUESTION, parse_bid, SCHEMA, max_tokens=20)
            for seat in bidders
            if not seat.needs_waiting
        ]

    def next_speaker(self, roster: Sequence[Seat], history: History, rng: Random) -> Choice:
        bidders = others_than_last(roster, history)
        best = max(bidders, key=lambda seat: (self._bid(seat, history), history.waited(seat)))
        bid = self._bid(best, history)
        return Choice(best.participant_id, f"bidding: {bid:g} of {MOST}" if bid else "bidding: nobody bid")

    def _bid(self, seat: Seat, history: History) -> float:
        if seat.needs_waiting:
            return float(self.config.get("default_bid") or 0)
        return history.answers.get(seat.participant_id) or 0.0


def parse_bid(text: str) -> float | None:
    """The bid in JSON, or the only number from 0 to 10 of a free text."""
    found: Mapping[str, Any] | None = find_object(text)
    if found is not None:
        return _as_bid(found.get("bid"))
    numbers = _NUMBER.findall(text[:500])
    return _as_bid(numbers[0]) if len(numbers) == 1 else None


def _as_bid(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        bid = float(value)
    except (ValueError, OverflowError):
        return None
    return bid if 0 <= bid <= MOST else None
