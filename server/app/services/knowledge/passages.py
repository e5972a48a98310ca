"""Passages as callers are shown them."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from uuid import UUID

from app.core.errors import NotFound
from app.domain.documents import Passage
from app.domain.highlights import places_of, words_of
from app.domain.permissions import Permission
from app.schemas.base import Page
from app.schemas.search import ChunkRead, PassageRead, SearchCreate, SearchRead, Span
from app.services.ai_models import Model, ModelCatalog
from app.services.callers import Actor
from app.services.knowledge.reranking import RERANKED, Reranking
from app.services.knowledge.search import Found, KnowledgeSearch, SearchFor
from app.services.unit_of_work import UnitOfWorkFactory

LEXEMES_KEPT = 20_000
"""Of each language, before they are forgotten all at once."""


class PassageService:
    """Searches the caller's workspace."""

    def __init__(
        self, uow: UnitOfWorkFactory, search: KnowledgeSearch, models: ModelCatalog, reranking: Reranking
    ) -> None:
        self._uow = uow
        self._search = search
        self._models = models
        self._reranking = reranking
        self._lexemes: dict[str, dict[str, frozenset[str]]] = {}

    async def search(self, actor: Actor, request: SearchCreate) -> SearchRead:
        """Raise `NotFound` for a base or a document that the workspace has not, `UnknownModel`, and a `ModelError`.

        Where the model that is to rank them anew fails, the passages stay in their order.
        """
        if request.document_ids:
            await self._check(actor, request)
        # What is found may be kept: it must not come from providers as they were before.
        self._models.forget(actor.workspace_id)
        reranker = await self._find_reranker(actor, request.rerank_model)
        k = request.k if reranker is None else max(request.k, RERANKED)
        found = await self._search.search(
            actor.workspace_id, SearchFor(request.query, request.base_ids, request.document_ids, k, request.mode)
        )
        if not {*request.base_ids} <= {*found.base_ids}:  # gone or never there, or of no matter
            await self._check(actor, request)
        reranked = None
        if reranker is not None and found.passages:
            reranked = await self._reranking.rerank(
                actor.workspace_id, actor.user_id, reranker, request.query, found.passages
            )
        found = replace(found, passages=(reranked or found.passages)[: request.k])
        sought = await self._words_to_show(actor, found)
        items = [_passage(each, sought) for each in found.passages]
        return SearchRead(items=items, mode=found.mode, reranked=reranked is not None)

    async def _find_reranker(self, actor: Actor, name: str | None) -> Model | None:
        if name is None:
            return None
        actor.require(Permission.MODELS_USE)
        models = await self._models.of(actor.workspace_id, name)
        models.check(name, "body", "rerank_model")
        return models.get(name)

    async def _check(self, actor: Actor, request: SearchCreate) -> None:
        async with self._uow.reading(actor.workspace_id) as work:
            if {*request.base_ids} - await work.knowledge.find_base_ids(request.base_ids):
                raise NotFound("there is no such knowledge base")
            if {*request.document_ids} - await work.knowledge.find_document_ids(request.document_ids):
                raise NotFound("there is no such document")

    async def _words_to_show(self, actor: Actor, found: Found) -> set[str]:
        """Those of the passages' words that are the query's in one of the languages."""
        words = words_of(passage.text for passage in found.passages)
        shown: set[str] = set()
        for terms in found.terms:
            lexemes = await self._lexemes_of(actor.workspace_id, terms.language, words)
            shown |= {word for word in words if not lexemes[word].isdisjoint(terms.lexemes)}
        return shown

    async def _lexemes_of(self, workspace_id: UUID, language: str, words: set[str]) -> Mapping[str, frozenset[str]]:
        """Of these words and others. What a word is stays the same, so only new ones are asked for."""
        kept = self._lexemes.get(language, {})
        if unknown := words - kept.keys():
            if len(kept) > LEXEMES_KEPT:
                kept, unknown = {}, words  # a new one: somebody may be looking into the old one
            async with self._uow.reading(workspace_id) as work:
                kept |= await work.passages.read_lexemes(language, unknown)
            self._lexemes[language] = kept
        return kept

    async def list_chunks(self, actor: Actor, document_id: UUID, limit: int, cursor: str | None) -> Page[ChunkRead]:
        async with self._uow.reading(actor.workspace_id) as work:
            if not await work.knowledge.find_document_ids([document_id]):
                raise NotFound("there is no such document")
            chunks, following = await work.passages.list_of(document_id, limit, cursor)
        return Page(items=[ChunkRead(**_place(chunk)) for chunk in chunks], next_cursor=following)


def _place(passage: Passage) -> dict[str, object]:
    start, end = passage.span
    return {
        "chunk_id": passage.chunk_id,
        "document_id": passage.document_id,
        "base_id": passage.base_id,
        "title": passage.title,
        "text": passage.text,
        "span": Span(start=start, end=end),
        "page": passage.page,
        "heading": passage.heading,
    }


def _passage(passage: Passage, sought: Collection[str]) -> PassageRead:
    highlights = [Span(start=start, end=end) for start, end in places_of(sought, passage.text)]
    return PassageRead(**_place(passage), score=passage.score, highlights=highlights)
