"""Collections in BEIR's form (Thakur et al., 2021), and how well rankings do on them."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Qrels = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Collection:
    """`corpus`: title and text of each document; `qrels`: how relevant which documents are to each query."""

    corpus: Mapping[str, tuple[str, str]]
    queries: Mapping[str, str]
    qrels: Qrels


def read_collection(folder: Path) -> Collection:
    """From `corpus.jsonl`, `queries.jsonl` and `qrels/test.tsv`; queries that nothing is relevant to are left out."""
    corpus = {
        line["_id"]: (line.get("title") or "", line.get("text") or "") for line in _lines(folder / "corpus.jsonl")
    }
    qrels: dict[str, dict[str, int]] = {}
    with (folder / "qrels" / "test.tsv").open(encoding="utf-8") as rows:
        for row in rows:
            query, document, relevance = row.rstrip("\n").split("\t")
            if relevance.lstrip("-").isdigit() and int(relevance) > 0:  # the first row has the columns' names
                qrels.setdefault(query, {})[document] = int(relevance)
    queries = {line["_id"]: line["text"] for line in _lines(folder / "queries.jsonl") if line["_id"] in qrels}
    return Collection(corpus, queries, qrels)


def _lines(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, filter(str.strip, lines))


def ndcg(ranking: Sequence[str], relevant: Mapping[str, int], k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first `k`, with linear gains, as trec_eval has it."""
    gained = sum(relevant.get(document, 0) / math.log2(rank + 1) for rank, document in enumerate(ranking[:k], start=1))
    best = sorted(relevant.values(), reverse=True)[:k]
    return gained / sum(gain / math.log2(rank + 1) for rank, gain in enumerate(best, start=1))


def recall(ranking: Sequence[str], relevant: Mapping[str, int], k: int = 100) -> float:
    """The share of the relevant ones that is among the first `k`."""
    return len({*ranking[:k]} & relevant.keys()) / len(relevant)


def judged(rankings: Mapping[str, Sequence[str]], qrels: Qrels) -> dict[str, float]:
    """The means over all queries that are judged; one without a ranking counts as nothing found."""
    count = len(qrels)
    return {
        "ndcg_at_10": round(sum(ndcg(rankings.get(query, ()), found) for query, found in qrels.items()) / count, 4),
        "recall_at_100": round(
            sum(recall(rankings.get(query, ()), found) for query, found in qrels.items()) / count, 4
        ),
    }
