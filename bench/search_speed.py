"""What a search and taking documents in cost, at a tenth of so many chunks and at all of them.

One in a hundred chunks is in a workspace of its own, which is searched as one tenant of many is; the others are in
another one, which is searched as one that has nearly all.
"""

import asyncio
import itertools
import time
from typing import Any

import orjson
import psycopg

from app.services.embedding.local import LocalEmbedder
from bench.installation import Installation
from bench.library import Library, tell
from bench.prose import Prose

CHARACTERS_A_CHUNK, CHUNKS_A_DOCUMENT = 850, 50
ASKED_ABOUT = 50
QUERIES, WARMING = 200, 20
NEAREST = 10
DIMENSIONS = 256
EMBEDDED = 5_000
_EXACT = (
    "SELECT chunk_id::text FROM chunk_embeddings WHERE workspace_id = %s"
    " ORDER BY embedding <=> CAST(%s AS halfvec) LIMIT %s"
)
_JOBS_LEFT = (
    "SELECT count(*) FROM procrastinate_jobs"
    " WHERE status IN ('todo', 'doing') AND coalesce(scheduled_at, now()) <= now()"
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
        self._asked_about: dict[str, list[str]] = {small.workspace_id: [], large.workspace_id: []}
        self._asked: set[str] = set()

    async def grow(self, chunks: int) -> float:
        """Until they have about so many together; how many of the large one's came in each second."""
        await self._fill(self.small, chunks // 100)
        return await self._fill(self.large, chunks - self.small.chunks())

    async def _fill(self, library: Library, chunks: int) -> float:
        before = library.chunks()
        size = min(CHUNKS_A_DOCUMENT, max(1, (chunks - before) // 4))
        count = max(1, (chunks - before) // size)
        tell(f"taking in {count} documents of about {size} chunks")
        texts = [self._prose.text(size * CHARACTERS_A_CHUNK) for _ in range(count)]
        self._asked_about[library.workspace_id] += texts[:: max(1, count // ASKED_ABOUT)]
        took = await library.take_in((f"{before}-{n}", f"Manual {n}", text) for n, text in enumerate(texts))
        return (library.chunks() - before) / took

    def questions(self, library: Library, count: int) -> list[str]:
        """Such as were not asked before, since answers are kept."""
        texts = itertools.cycle(self._asked_about[library.workspace_id])
        found: list[str] = []
        while len(found) < count:
            question = self._prose.question(next(texts))
            if question not in self._asked:
                self._asked.add(question)
                found.append(question)
        return found

    async def times(self, library: Library) -> tuple[float, float]:
        """Median and 95th percentile of hybrid searches, in milliseconds."""
        await library.timed(self.questions(library, WARMING))
        times = await library.timed(self.questions(library, QUERIES))
        p50, p95 = times[len(times) // 2], times[int(len(times) * 0.95)]
        tell(f"  {library.chunks()} chunks: p50 {p50:.1f} ms, p95 {p95:.1f} ms")
        return p50, p95

    async def recall(self, library: Library) -> tuple[float, float]:
        """The share of the nearest ones that is found by meaning, and the median of comparing with all, in ms."""
        found, times = 0, []
        questions = self.questions(library, QUERIES)
        vectors = await LocalEmbedder(DIMENSIONS).embed(questions)
        with psycopg.connect(library.arena.database_url) as connection:
            for question, vector in zip(questions, vectors, strict=True):
                written = orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode()
                began = time.perf_counter()
                nearest = {row[0] for row in connection.execute(_EXACT, [library.workspace_id, written, NEAREST])}
                times.append((time.perf_counter() - began) * 1000)
                hits = await library.search(question, "vector", NEAREST)
                found += len(nearest & {hit["chunk_id"] for hit in hits})
        return found / (NEAREST * len(questions)), sorted(times)[len(times) // 2]


async def measure_speed(arena: Installation, chunks: int) -> dict[str, Any]:
    """The figures of docs/performance.md; `whole_…` are of the tenant that has nearly all."""
    tenants = Tenants(await Library.open(arena, "Small"), await Library.open(arena, "Large"), Prose(1))
    early = chunks // 10
    await tenants.grow(early)
    await settle(arena)
    early_p50, whole_early_p50 = [(await tenants.times(each))[0] for each in (tenants.small, tenants.large)]
    rate = await tenants.grow(chunks)
    await settle(arena)
    p50, p95 = await tenants.times(tenants.small)
    whole_p50, whole_p95 = await tenants.times(tenants.large)
    recall, _ = await tenants.recall(tenants.small)
    whole_recall, exact_p50 = await tenants.recall(tenants.large)
    return {
        "chunks": tenants.small.chunks() + tenants.large.chunks(),
        "p50_ms": round(p50, 1),
        "p95_ms": round(p95, 1),
        "recall_at_10": round(recall, 3),
        "exact_p50_ms": round(exact_p50, 1),
        "ingest_chunks_per_s": round(rate),
        "embed_texts_per_s": round(await embedding_rate()),
        "index_mb": round(index_bytes(arena) / 1e6),
        f"p50_ms_at_{early}": round(early_p50, 1),
        "p50_growth": round(p50 / early_p50, 2),
        "whole_p50_ms": round(whole_p50, 1),
        "whole_p95_ms": round(whole_p95, 1),
        "whole_recall_at_10": round(whole_recall, 3),
        f"whole_p50_ms_at_{early}": round(whole_early_p50, 1),
        "whole_p50_growth": round(whole_p50 / whole_early_p50, 2),
    }


async def settle(arena: Installation) -> None:
    """Wait for the summaries of documents, and do what autovacuum does a minute later: neither is measured."""
    with psycopg.connect(arena.database_url, autocommit=True) as connection:
        while (row := connection.execute(_JOBS_LEFT).fetchone()) is not None and row[0]:
            tell(f"  {row[0]} jobs to go")
            await asyncio.sleep(1)
        connection.execute("VACUUM ANALYZE chunks, chunk_embeddings, documents")


def index_bytes(arena: Installation) -> int:
    """All indexes of chunks and of their vectors."""
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
