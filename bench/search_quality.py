"""How well documents of a collection are found, whose judgements nobody here made."""

import re
from typing import Any

from bench.beir import Collection
from bench.installation import Installation
from bench.judged import judge
from bench.library import Library, tell

MODES = ("keyword", "vector", "hybrid")
PASSAGES = 100
"""As many as one search gives; documents that several of them are of leave room for fewer others."""
TOLD_EVERY = 200
_OPERATORS = re.compile(r'"|(?<!\S)-')


async def measure_quality(arena: Installation, collection: Collection) -> dict[str, Any]:
    library = await Library.open(arena, "Collection")
    tell(f"taking in {len(collection.corpus)} documents")
    seconds = await library.take_in((name, title, text) for name, (title, text) in collection.corpus.items())
    chunks = library.chunks()
    figures: dict[str, Any] = {
        "documents": len(collection.corpus),
        "chunks": chunks,
        "queries": len(collection.queries),
        "ingest_chunks_per_s": round(chunks / seconds),
    }
    for mode in MODES:
        rankings: dict[str, list[str]] = {}
        for query, text in collection.queries.items():
            rankings[query] = await _ranking(library, text, mode)
            if len(rankings) % TOLD_EVERY == 0:
                tell(f"  {mode}: {len(rankings)} of {len(collection.queries)} queries")
        figures[mode] = judge(rankings, collection.qrels)
        tell(f"  {mode}: {figures[mode]}")
    return figures


async def _ranking(library: Library, query: str, mode: str) -> list[str]:
    """What was asked is prose: a quote or a dash in it asks for nothing."""
    words = _OPERATORS.sub(" ", query)
    return library.names(await library.search(words, mode, PASSAGES)) if words.strip() else []
