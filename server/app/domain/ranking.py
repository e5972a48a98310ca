"""Making one ranking out of several."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TypeVar

K = TypeVar("K", bound=Hashable)

SMOOTHING = 10
"""How little the first places count more than the next ones: 60 in the paper, which fuses rankings of one worth."""
PATIENCE = 60


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
    return _best_first(scores)


def nudge(scored: Sequence[tuple[K, float]], ranking: Sequence[K], weight: float) -> Mapping[K, float]:
    """Let a weaker ranking decide where a better one is of two minds; best first, between 0 and 1.

    What is `scored` keeps how far apart its hits are, so that one that is far ahead stays there. The weaker ranking
    adds its reciprocal ranks (`PATIENCE` as in the paper), of which the first is worth `weight` of the best score.
    """
    best = scored[0][1] if scored else 0.0
    scores = {key: score / best / (1 + weight) for key, score in scored if best > 0}
    for rank, key in enumerate(ranking, start=1):
        scores[key] = scores.get(key, 0.0) + weight * (PATIENCE + 1) / (PATIENCE + rank) / (1 + weight)
    return _best_first(scores)


def continued(first: Mapping[K, float], others: Mapping[K, float], count: int) -> Mapping[K, float]:
    """The first `count` of one ranking, and behind them the others in their order, whose scores are made no higher."""
    kept = dict(islice(first.items(), count))
    least = min(kept.values(), default=1.0)
    return kept | {key: score * least for key, score in others.items() if key not in kept}


def _best_first(scores: Mapping[K, float]) -> Mapping[K, float]:
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


def reorder(items: Sequence[K], numbers: Iterable[int]) -> list[K]:
    """The items whose numbers (from 1) are given, in that order, then the others as they were.

    Numbers that are none of theirs, or were given before, are passed over.
    """
    wanted = dict.fromkeys(number - 1 for number in numbers if 1 <= number <= len(items))
    return [items[place] for place in wanted] + [item for place, item in enumerate(items) if place not in wanted]
