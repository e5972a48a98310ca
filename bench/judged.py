"""How good rankings are, by what was judged relevant: the figures of trec_eval, and so of BEIR."""

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean

from bench.beir import Qrels

Ranking = Sequence[str]
"""Documents, best first, each once."""


def ndcg(ranking: Ranking, relevant: Mapping[str, int], k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first `k` (Järvelin and Kekäläinen, 2002).

    As trec_eval has it: the gain is the relevance itself, and is divided by log2(rank + 1).
    """
    best = sorted(relevant.values(), reverse=True)
    return _gained([relevant.get(document, 0) for document in ranking[:k]]) / _gained(best[:k])


def _gained(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def recall(ranking: Ranking, relevant: Collection[str], k: int = 100) -> float:
    """The share of the relevant ones that is among the first `k`."""
    return len({*ranking[:k]} & {*relevant}) / len(relevant)


def judge(rankings: Mapping[str, Ranking], qrels: Qrels) -> dict[str, float]:
    """The means over all queries that are judged; one without a ranking has found nothing."""
    found = [(_without_itself(query, rankings.get(query, ()), each), each) for query, each in qrels.items()]
    return {
        "ndcg_at_10": round(fmean(ndcg(ranking, relevant) for ranking, relevant in found), 4),
        "recall_at_100": round(fmean(recall(ranking, relevant) for ranking, relevant in found), 4),
    }


def _without_itself(query: str, ranking: Ranking, relevant: Collection[str]) -> Ranking:
    """In some collections the queries are documents too, and BEIR's own evaluation passes over them."""
    return ranking if query in relevant else [document for document in ranking if document != query]
