"""A turn policy: whoever has said least so far speaks next."""

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any
from uuid import UUID

from app.domain.policies import Brief, Choice, History, Seat, SelfDeciding


class LeastSpoken(SelfDeciding):
    """Counts the words of what was said lately; ties go by seating order.

    Configuration: `{"type": "least_spoken", "words": 40}`; `words`, if given, is how many words a turn should have.
    """

    @staticmethod
    def check(config: Mapping[str, Any], roster: Sequence[Seat]) -> None:
        words = config.get("words", 1)
        if not isinstance(words, int) or not 1 <= words <= 1000:
            raise ValueError("words must be a number from 1 to 1000")

    def next_speaker(self, roster: Sequence[Seat], history: History, rng: Random) -> Choice:
        said: Counter[UUID] = Counter()
        for message in history.recent:
            said[message.participant_id] += len(message.content.split())
        others = [seat for seat in roster if seat.participant_id != history.last_speaker] or roster
        quietest = min(others, key=lambda seat: said[seat.participant_id])
        return Choice(quietest.participant_id, f"least_spoken: {said[quietest.participant_id]} words")

    def brief(self, seat: Seat, state: Mapping[str, Any] | None) -> Brief:
        words = self.config.get("words")
        return Brief(f"Answer in about {words} words.") if words else Brief()
