"""Searching a set of bases and a set of documents at once, and nothing besides them."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from app.domain.documents import Passage
from app.services.knowledge.search import KnowledgeSearch, SearchFor


class AllowedKnowledge:
    """The `Search` of tools. To `KnowledgeSearch`, no bases mean all of the workspace's; here they mean none."""

    def __init__(self, knowledge: KnowledgeSearch) -> None:
        self._knowledge = knowledge

    async def __call__(
        self, workspace_id: UUID, query: str, base_ids: Sequence[UUID], document_ids: Sequence[UUID], k: int
    ) -> list[Passage]:
        """The best `k` of both, each once."""
        wanted = []
        if base_ids:
            wanted.append(SearchFor(query, base_ids=base_ids, k=k))
        if document_ids:
            wanted.append(SearchFor(query, document_ids=document_ids, k=k))
        found = await asyncio.gather(*(self._knowledge.find(workspace_id, one) for one in wanted))
        best: dict[UUID, Passage] = {}
        for passage in sorted((one for passages in found for one in passages), key=lambda one: -one.score):
            best.setdefault(passage.chunk_id, passage)
        return list(best.values())[:k]
