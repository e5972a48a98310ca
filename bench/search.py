"""What search costs and how well it finds; the last line printed is one JSON object.

Without a collection: 10,000 and then 100,000 chunks of sentences by chance are taken in through the API, one in a
hundred of them in a workspace of its own, which is searched as one tenant of many is; then the other one, as a tenant
that has nearly all. With `--beir DIR`, a collection whose judgements nobody here made: how well its documents are
found by words, by meaning and by both.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import psycopg

from app.services.embedding.local import LocalEmbedder
from bench.beir import judged, read_collection
from bench.installation import Installation, data_folder, installation
from bench.library import Library, tell
from bench.prose import Prose

TARGETS = (
    "targets: p95_ms <= 50, recall_at_10 >= 0.95, ingest_chunks_per_s >= 500, "
    "p50_ms < 2 x p50_ms_at_10000, whole_p50_ms < 2 x whole_p50_ms_at_10000"
)
CHUNKS = 100_000
TENTH = 10
CHARACTERS_A_CHUNK, CHUNKS_A_DOCUMENT = 850, 50
QUERIES, WARMING = 200, 20
DIMENSIONS = 256
EMBEDDED = 5_000
MODES = ("keyword", "vector", "hybrid")
_EXACT = (
    "SELECT chunk_id::text FROM chunk_embeddings WHERE workspace_id = %s"
    " ORDER BY embedding <=> CAST(%s AS halfvec) LIMIT 10"
)
_INDEX_BYTES = (
    "SELECT sum(pg_relation_size(indexrelid)) FROM pg_index"
    " WHERE indrelid IN ('chunks'::regclass, 'chunk_embeddings'::regclass)"
)


class Tenants:
    """One with a hundredth of all chunks, and one with the others."""

    def __init__(self, small: Library, large: Library, prose: Prose) -> None:
        self.small, self.large = small, large
        self._prose = prose
        self._asked: dict[str, list[str]] = {small.workspace_id: [], large.workspace_id: []}

    async def grow(self, chunks: int) -> tuple[int, float]:
        """Until they have so many together; how many came, and in how many seconds those of the large one."""
        await self._fill(self.small, chunks // 100)
        return await self._fill(self.large, chunks - self.small.chunks())

    async def _fill(self, library: Library, chunks: int) -> tuple[int, float]:
        before = library.chunks()
        size = min(CHUNKS_A_DOCUMENT, max(1, (chunks - before) // 4))
        count = max(1, (chunks - before) // size)
        tell(f"taking in {count} documents of about {size} chunks")
        texts = [self._prose.text(size * CHARACTERS_A_CHUNK) for _ in range(count)]
        self._asked[library.workspace_id] += [self._prose.question(text) for text in texts for _ in range(8)]
        took = await library.take_in((f"{before}-{n}", f"Manual {n}", text) for n, text in enumerate(texts))
        return library.chunks() - before, took

    def questions(self, library: Library) -> list[str]:
        asked = self._asked[library.workspace_id]
        return [asked[n * len(asked) // (QUERIES + WARMING)] for n in range(QUERIES + WARMING)]

    async def measure(self, library: Library) -> tuple[float, float]:
        """Median and 95th percentile of hybrid searches, in milliseconds."""
        questions = self.questions(library)
        await library.timed(questions[:WARMING])
        times = await library.timed(questions[WARMING:])
        tell(f"  {library.chunks()} chunks: p50 {times[len(times) // 2]:.1f} ms")
        return times[len(times) // 2], times[int(len(times) * 0.95)]

    async def compare(self, library: Library) -> tuple[float, float]:
        """Of the ten nearest, how many are found, and the median of comparing with all one by one."""
        found, times = 0, []
        questions = self.questions(library)[WARMING:]
        vectors = await LocalEmbedder(DIMENSIONS).embed(questions)
        with psycopg.connect(library.arena.database_url) as connection:
            for question, vector in zip(questions, vectors, strict=True):
                written = orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode()
                began = time.perf_counter()
                nearest = {row[0] for row in connection.execute(_EXACT, [library.workspace_id, written])}
                times.append((time.perf_counter() - began) * 1000)
                hits = await library.search(question, "vector", 10)
                found += len(nearest & {hit["chunk_id"] for hit in hits})
        return found / (10 * len(questions)), sorted(times)[len(times) // 2]


async def measure_speed(arena: Installation, chunks: int) -> dict[str, Any]:
    tenants = Tenants(await Library.open(arena, "Small"), await Library.open(arena, "Large"), Prose(1))
    await tenants.grow(chunks // TENTH)
    early, early_whole = await tenants.measure(tenants.small), await tenants.measure(tenants.large)
    came, seconds = await tenants.grow(chunks)
    settled(arena)
    p50, p95 = await tenants.measure(tenants.small)
    whole_p50, whole_p95 = await tenants.measure(tenants.large)
    recall, _ = await tenants.compare(tenants.small)
    whole_recall, exact_p50 = await tenants.compare(tenants.large)
    return {
        "chunks": tenants.small.chunks() + tenants.large.chunks(),
        "p50_ms": round(p50, 1),
        "p95_ms": round(p95, 1),
        "recall_at_10": round(recall, 3),
        "exact_p50_ms": round(exact_p50, 1),
        "ingest_chunks_per_s": round(came / seconds),
        "embed_texts_per_s": round(await embedding_rate()),
        "index_mb": round(index_bytes(arena) / 1e6),
        "p50_ms_at_10000": round(early[0], 1),
        "whole_p50_ms": round(whole_p50, 1),
        "whole_p95_ms": round(whole_p95, 1),
        "whole_recall_at_10": round(whole_recall, 3),
        "whole_p50_ms_at_10000": round(early_whole[0], 1),
    }


def settled(arena: Installation) -> None:
    """What autovacuum does a minute later, so that what is measured is not its work."""
    with psycopg.connect(arena.database_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE chunks, chunk_embeddings, documents")


def index_bytes(arena: Installation) -> int:
    with psycopg.connect(arena.database_url) as connection:
        row = connection.execute(_INDEX_BYTES).fetchone()
        assert row is not None
        return int(row[0])


async def embedding_rate() -> float:
    """Texts a second that the local model turns into vectors in one process."""
    prose, embedder = Prose(2), LocalEmbedder(DIMENSIONS)
    texts = [prose.text(CHARACTERS_A_CHUNK) for _ in range(EMBEDDED)]
    await embedder.embed(texts[:100])
    began = time.perf_counter()
    await embedder.embed(texts)
    return EMBEDDED / (time.perf_counter() - began)


async def measure_quality(arena: Installation, folder: Path) -> dict[str, Any]:
    collection = read_collection(folder)
    library = await Library.open(arena, "Collection")
    tell(f"taking in {len(collection.corpus)} documents")
    took = await library.take_in((name, title, text) for name, (title, text) in collection.corpus.items())
    found: dict[str, Any] = {"documents": len(collection.corpus), "queries": len(collection.qrels)}
    found |= {"chunks": library.chunks(), "ingest_chunks_per_s": round(library.chunks() / took)}
    for mode in MODES:
        rankings: dict[str, Sequence[str]] = {}
        for query, text in collection.queries.items():
            rankings[query] = library.names(await library.search(text, mode, 100), 100) if text.strip() else ()
        found[mode] = judged(rankings, collection.qrels)
        tell(f"  {mode}: {found[mode]}")
    return found


async def _run(arguments: argparse.Namespace) -> dict[str, Any]:
    with data_folder() as folder:
        async with installation(folder, workers=2) as arena:
            if arguments.beir is not None:
                return await measure_quality(arena, arguments.beir)
            return await measure_speed(arena, arguments.chunks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beir", type=Path, help="a folder with corpus.jsonl, queries.jsonl and qrels/test.tsv")
    parser.add_argument("--chunks", type=int, default=CHUNKS)
    arguments = parser.parse_args()
    figures = asyncio.run(_run(arguments))
    if arguments.beir is None:
        tell(TARGETS)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
