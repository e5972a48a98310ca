"""A human chooses every speaker."""

from collections.abc import Sequence
from random import Random

from app.domain.policies.base import Choice, History, Seat, SelfDeciding


class Manual(SelfDeciding):
    """Nobody has the floor until somebody gives it: `POST /discussions/{id}/floor`."""

    def next_speaker(self, roster: Sequence[Seat], history: History, rng: Random) -> Choice:
        return Choice(None, "manual", history.state)
