"""Search in knowledge: by words, by meaning, or by both in one ranking."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

import structlog

from app.domain.documents import Passage
from app.domain.ranking import continued, fuse, nudge
from app.domain.search_query import SearchQuery, read_query
from app.repositories.passages import Terms
from app.services.ai_models import UnknownModel
from app.services.embedding.catalog import EmbeddingCatalog
from app.services.knowledge.keywords import KeywordSearch, Searched
from app.services.providers.base import ModelError
from app.services.unit_of_work import UnitOfWorkFactory
from app.services.vector_store import VectorStore, VectorStoreAway, Within

log = structlog.stdlib.get_logger(__name__)

Mode = Literal["hybrid", "vector", "keyword"]
LONGEST_QUERY = 2_000
LOOKED_THROUGH = 50
"""Hits of each kind are ranked together at least, however few are wanted."""

MEANS_OF_WORDS = 0.15
"""What the local embedding's first hit is worth beside the best one by words."""
FIRST_PLACES = 20


@dataclass(frozen=True, slots=True)
class SearchFor:
    """What is looked for; without `base_ids`, in all bases of the workspace.

    A query is cut at `LONGEST_QUERY` characters. `is_prose`: quotes and dashes in it mean nothing, as in what somebody
    said; else "words in quotes" must be there, and a -word must not.
    """

    query: str
    base_ids: Sequence[UUID] = ()
    document_ids: Sequence[UUID] = ()
    k: int = 10
    mode: Mode = "hybrid"
    is_prose: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """Passages, best first, and the mode that the search came to; `terms` are the query's words in each language.

    `base_ids` are the bases that were searched.
    """

    passages: Sequence[Passage]
    mode: Mode
    terms: Sequence[Terms] = ()
    base_ids: Collection[UUID] = ()


@dataclass(frozen=True, slots=True)
class _Course:
    """A search under way."""

    workspace_id: UUID
    query: SearchQuery
    searched: Searched
    bases_by_model: Mapping[str, Sequence[UUID]]
    terms: Sequence[Terms]
    depth: int


class KnowledgeSearch:
    """Finds passages in the workspace's bases. Nothing is held while a text is embedded."""

    def __init__(self, uow: UnitOfWorkFactory, embeddings: EmbeddingCatalog, vectors: VectorStore) -> None:
        self._uow = uow
        self._embeddings = embeddings
        self._vectors = vectors
        self._keywords = KeywordSearch(uow)

    async def find(self, workspace_id: UUID, wanted: SearchFor) -> list[Passage]:
        """The best `k`, best first; bases and documents that are not there are passed over.

        Where the embedding model or the vector store does not answer, a hybrid search goes by words alone; one by
        meaning raises their `ModelError`, `UnknownModel` or `VectorStoreAway`.
        """
        return list((await self.search(workspace_id, wanted)).passages)

    async def search(self, workspace_id: UUID, wanted: SearchFor) -> Found:
        """The same, with how it was found."""
        course = await self._begin(workspace_id, wanted)
        if course is None:
            return Found([], wanted.mode)
        mode, scores = await self._rank(course, wanted.mode)
        return Found(await self._read(course, scores, wanted.k), mode, course.terms, course.searched.base_ids)

    async def _rank(self, course: _Course, mode: Mode) -> tuple[Mode, Mapping[UUID, float]]:
        """The mode that it came to, and chunks with their scores, best first."""
        if mode == "keyword":
            return mode, dict(await self._by_words(course))
        if mode == "vector":
            return mode, dict(await self._by_meaning(course))
        by_words, by_meaning = await asyncio.gather(self._by_words(course), self._by_meaning_if_it_answers(course))
        if by_meaning is None:
            return "keyword", dict(by_words)
        return mode, merge(by_words, [key for key, _ in by_meaning], course.bases_by_model)

    async def _begin(self, workspace_id: UUID, wanted: SearchFor) -> _Course | None:
        # A model that searches may ask for what PostgreSQL cannot hold.
        given = wanted.query[:LONGEST_QUERY].encode(errors="ignore").decode().replace("\0", " ")
        query = SearchQuery(given) if wanted.is_prose else read_query(given)
        async with self._uow.reading(workspace_id) as work:
            bases = await work.knowledge.list_searched(wanted.base_ids, wanted.document_ids)
            if not bases or not query.words:
                return None
            searched = Searched(list(bases), wanted.document_ids)
            terms = await work.passages.read_terms(searched.base_ids, searched.document_ids, query)
        by_model: dict[str, list[UUID]] = {}
        for base_id, model in bases.items():
            by_model.setdefault(model, []).append(base_id)
        return _Course(workspace_id, query, searched, by_model, terms, max(LOOKED_THROUGH, 2 * wanted.k))

    async def _by_words(self, course: _Course) -> list[tuple[UUID, float]]:
        return await self._keywords.find(course.workspace_id, course.searched, course.terms, course.depth)

    async def _by_meaning_if_it_answers(self, course: _Course) -> list[tuple[UUID, float]] | None:
        try:
            return await self._by_meaning(course)
        except (ModelError, UnknownModel, VectorStoreAway) as error:
            log.warning("search_without_vectors", models=list(course.bases_by_model), error=error.code)
            return None

    async def _by_meaning(self, course: _Course) -> list[tuple[UUID, float]]:
        """Of several embedding models, whose similarities cannot be compared, the first of each come first."""
        found = await asyncio.gather(
            *(self._of_model(course, model, base_ids) for model, base_ids in course.bases_by_model.items())
        )
        if len(found) == 1:
            return found[0]
        return list(fuse((1.0, [chunk_id for chunk_id, _ in hits]) for hits in found).items())

    async def _of_model(self, course: _Course, model: str, base_ids: Collection[UUID]) -> list[tuple[UUID, float]]:
        embedding = await self._embeddings.get(course.workspace_id, model)
        vector = await embedding.embedder.embed([course.query.words])
        chunks = sum(terms.chunks for terms in course.terms)
        within = Within(course.workspace_id, base_ids, course.searched.document_ids, at_most=chunks)
        hits = await self._vectors.search(within, model, vector, course.depth)
        return [(hit.chunk_id, hit.similarity) for hit in hits]

    async def _read(self, course: _Course, scores: Mapping[UUID, float], k: int) -> list[Passage]:
        """The best `k` of those that are there; more than the first so many are read only if some are not."""
        conditions = {terms.language: terms.conditions for terms in course.terms if terms.conditions}
        ranked, best = list(scores), list[Passage]()
        async with self._uow.reading(course.workspace_id) as work:
            for some in (ranked[:k], ranked[k:]):
                if some and len(best) < k:
                    passages = await work.passages.read(
                        some, course.searched.base_ids, course.searched.document_ids, conditions
                    )
                    best += [replace(passages[key], score=scores[key]) for key in some if key in passages]
        return best[:k]


def merge(
    by_words: Sequence[tuple[UUID, float]], by_meaning: Sequence[UUID], embedding_models: Iterable[str]
) -> Mapping[UUID, float]:
    """One ranking of both, by what is known of the embedding models. Decision 0024 has the measurements.

    A vector that is the mean of its words' knows neither their order nor which of them matter: it is heard where the
    words leave it open. Behind the first places, where words say little, it counts as much as they do.
    """
    evenly = fuse([(1.0, [key for key, _ in by_words]), (1.0, by_meaning)])
    if not any(model.startswith("local/") for model in embedding_models):
        return evenly
    return continued(nudge(by_words, by_meaning, MEANS_OF_WORDS), evenly, FIRST_PLACES)
