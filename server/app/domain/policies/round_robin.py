"""Everybody in turn, in seating order."""

from collections.abc import Sequence
from random import Random

from app.domain.policies.base import Choice, History, Seat, SelfDeciding


class RoundRobin(SelfDeciding):
    """The seat after the last speaker's; the first seat if that speaker has left or nobody spoke yet."""

    def next_speaker(self, roster: Sequence[Seat], history: History, rng: Random) -> Choice:
        order = [seat.participant_id for seat in roster]
        position = order.index(history.last_speaker) + 1 if history.last_speaker in order else 0
        return Choice(order[position % len(order)], "round_robin")
