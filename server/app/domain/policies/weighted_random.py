"""Somebody by chance, some more often than others."""

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from app.domain.policies.base import Choice, History, Seat, SelfDeciding
from app.domain.policies.errors import InvalidTurnPolicy
from app.domain.policies.references import find_seat, get_seat


class WeightedRandom(SelfDeciding):
    """A draw for every turn; a seat without a weight counts 1, and where all have weight 0 they are equal."""

    def next_speaker(self, roster: Sequence[Seat], history: History, rng: Random) -> Choice:
        weights = _weights(self.config, roster)
        if not any(weights):
            weights = [1.0] * len(roster)
        return Choice(rng.choices(roster, weights)[0].participant_id, "random")

    @staticmethod
    def check(config: Mapping[str, Any], roster: Sequence[Seat]) -> None:
        """Weights are of people at the table, each once, 0 or more, and not all 0."""
        weighed: set[Seat] = set()
        for reference, weight in (config.get("weights") or {}).items():
            seat = get_seat(reference, roster, "turn_policy", "weights", reference)
            if seat in weighed:
                raise InvalidTurnPolicy(f"turn_policy: @{seat.handle} has two weights", "weights", reference)
            if not math.isfinite(weight) or weight < 0:
                raise InvalidTurnPolicy(f"turn_policy: {weight} is no weight", "weights", reference)
            weighed.add(seat)
        if not any(_weights(config, roster)):
            raise InvalidTurnPolicy("turn_policy: the weights of all at the table sum to 0", "weights")


def _weights(config: Mapping[str, Any], roster: Sequence[Seat]) -> list[float]:
    weights = dict.fromkeys(roster, 1.0)
    for reference, weight in (config.get("weights") or {}).items():
        seat = find_seat(reference, roster)
        if seat is not None:
            weights[seat] = float(weight)
    return list(weights.values())
