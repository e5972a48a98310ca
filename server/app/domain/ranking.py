"""Making one ranking out of several."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

K = TypeVar("K", bound=Hashable)

SMOOTHING = 60
"""How little the first places count more than the next ones, as in the paper."""


def fuse(rankings: Iterable[tuple[float, Sequence[K]]]) -> Mapping[K, float]:
    """Score by reciprocal rank (Cormack, Clarke and Büttcher, 2009), each ranking by its weight; best first.

    Between 0 and 1: 1 is first in all rankings. Ties keep the order of the first ranking that has them.
    """
    given = [(weight, ranking) for weight, ranking in rankings if weight > 0]
    full = sum(weight for weight, _ in given) / (SMOOTHING + 1)
    scores: dict[K, float] = {}
    for weight, ranking in given:
        for rank, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0.0) + weight / (SMOOTHING + rank) / full
    return dict(sorted(scores.items(), key=lambda item: -item[1]))
