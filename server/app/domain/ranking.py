"""Making one ranking out of several."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

K = TypeVar("K", bound=Hashable)

SMOOTHING = 10
"""How little the first places count more than the next ones: 60 in the paper, which fuses rankings of one worth."""


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


def reorder(items: Sequence[K], numbers: Iterable[int]) -> list[K]:
    """The items whose numbers (from 1) are given, in that order, then the others as they were.

    Numbers that are none of theirs, or were given before, are passed over.
    """
    wanted = dict.fromkeys(number - 1 for number in numbers if 1 <= number <= len(items))
    return [items[place] for place in wanted] + [item for place, item in enumerate(items) if place not in wanted]
