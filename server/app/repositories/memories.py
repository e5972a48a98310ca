"""What agents remember, and how far discussions were distilled for them.

Memories of one agent are added and merged while its row is locked, so that no two find the same fact missing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import case, delete, literal, select, text
from sqlalchemy.dialects.postgresql import insert

from app.core.errors import NotFound
from app.domain.memories import Recollection, Sources, Trace
from app.models import Distillation, Memory, MemorySource
from app.repositories.base import Repository, contains

# What is just being changed by somebody else comes to mind again.
_TOUCH = text(
    """
    UPDATE memories SET recalled_at = now(), recall_count = recall_count + 1 WHERE id IN (
        SELECT id FROM memories WHERE workspace_id = :workspace_id AND id = ANY(:ids)
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    )
    """
)


@dataclass(frozen=True, slots=True)
class Direction:
    """What a text is about, as a vector of an embedding model."""

    model: str
    vector: Sequence[float]


class MemoryRepository(Repository):
    """The memories of the workspace's agents."""

    async def add(self, memory: Memory, direction: Direction, sources: Sources | None = None) -> None:
        _direct(memory, direction)
        self._session.add(memory)
        await self._session.flush()
        await self.add_sources(memory.id, sources or {})

    async def reword(self, memory: Memory, content: str, direction: Direction) -> None:
        memory.content = content
        _direct(memory, direction)
        await self._session.flush()

    async def add_sources(self, memory_id: UUID, sources: Sources) -> None:
        """Say where else it was heard, or all that was heard there."""
        rows = [
            {"memory_id": memory_id, "discussion_id": key, "workspace_id": self._workspace_id, "seqs": sorted(seqs)}
            for key, seqs in sources.items()
        ]
        if rows:
            told = insert(MemorySource).values(rows)
            await self._session.execute(
                told.on_conflict_do_update(
                    index_elements=["memory_id", "discussion_id"], set_={"seqs": told.excluded.seqs}
                )
            )

    async def get(self, agent_id: UUID, memory_id: UUID, *, for_update: bool = False) -> Memory:
        query = self._of(agent_id).where(Memory.id == memory_id)
        memory: Memory | None = await self._session.scalar(query.with_for_update() if for_update else query)
        if memory is None:
            raise NotFound("the agent remembers no such thing")
        return memory

    async def find_many(self, agent_id: UUID, memory_ids: Collection[UUID]) -> dict[UUID, Memory]:
        rows = await self._session.scalars(self._of(agent_id).where(Memory.id.in_(memory_ids)))
        return {memory.id: memory for memory in rows}

    async def list_page(
        self, agent_id: UUID, *, words: str | None, limit: int, cursor: str | None
    ) -> tuple[list[Memory], str | None]:
        query = self._of(agent_id)
        if words:
            query = query.where(Memory.content.ilike(contains(words)))
        return await self._page(query, Memory.id, limit, cursor)

    async def sources_of(self, memory_ids: Collection[UUID]) -> Mapping[UUID, Sources]:
        """Where they were heard."""
        rows = await self._session.scalars(
            select(MemorySource).where(
                MemorySource.workspace_id == self._workspace_id, MemorySource.memory_id.in_(memory_ids)
            )
        )
        found: dict[UUID, dict[UUID, frozenset[int]]] = {memory_id: {} for memory_id in memory_ids}
        for row in rows:
            found[row.memory_id][row.discussion_id] = frozenset(row.seqs)
        return found

    async def traces(self, agent_id: UUID, about: Direction | None = None) -> list[Trace]:
        """All of the agent's, with their relevance to what is asked about."""
        query = select(Memory.id, Memory.importance, Memory.created_at, Memory.recalled_at, _relevance(about)).where(
            Memory.workspace_id == self._workspace_id, Memory.agent_id == agent_id
        )
        return [Trace(*row) for row in await self._session.execute(query)]

    async def recollections(self, agent_id: UUID, memory_ids: Sequence[UUID]) -> list[Recollection]:
        """What they say, in that order; without those that are gone."""
        rows = await self._session.execute(
            select(Memory.id, Memory.content, Memory.created_at).where(
                Memory.workspace_id == self._workspace_id, Memory.agent_id == agent_id, Memory.id.in_(memory_ids)
            )
        )
        found = {row.id: Recollection(row.id, row.content, row.created_at) for row in rows}
        return [found[memory_id] for memory_id in memory_ids if memory_id in found]

    async def list_alike(self, agent_id: UUID, about: Direction, similarity: float, limit: int) -> list[Memory]:
        """Those at least so similar, the most similar first."""
        distance = Memory.embedding.cosine_distance(about.vector)
        query = self._of(agent_id).where(Memory.embedding_model == about.model, distance <= 1 - similarity)
        return list(await self._session.scalars(query.order_by(distance).limit(limit)))

    async def touch(self, memory_ids: Collection[UUID]) -> None:
        """They have just come to mind."""
        await self._session.execute(_TOUCH, {"workspace_id": self._workspace_id, "ids": list(memory_ids)})

    async def forget(self, agent_id: UUID, memory_ids: Collection[UUID]) -> None:
        await self._session.execute(
            delete(Memory).where(
                Memory.workspace_id == self._workspace_id, Memory.agent_id == agent_id, Memory.id.in_(memory_ids)
            )
        )

    async def forget_all(self, agent_id: UUID) -> int:
        """How many there were."""
        gone = await self._session.execute(
            delete(Memory)
            .where(Memory.workspace_id == self._workspace_id, Memory.agent_id == agent_id)
            .returning(Memory.id)
        )
        return len(gone.all())

    async def distilled_through(self, discussion_id: UUID, agent_id: UUID) -> int:
        """The place in the discussion's log up to which it was distilled for the agent; 0: not at all."""
        found: int | None = await self._session.scalar(
            select(Distillation.through_seq).where(
                Distillation.workspace_id == self._workspace_id,
                Distillation.discussion_id == discussion_id,
                Distillation.agent_id == agent_id,
            )
        )
        return found or 0

    async def note_distilled(self, discussion_id: UUID, agent_id: UUID, through_seq: int) -> None:
        row = insert(Distillation).values(
            discussion_id=discussion_id, agent_id=agent_id, workspace_id=self._workspace_id, through_seq=through_seq
        )
        await self._session.execute(
            row.on_conflict_do_update(
                index_elements=["discussion_id", "agent_id"], set_={"through_seq": row.excluded.through_seq}
            )
        )

    def _of(self, agent_id: UUID) -> Any:
        return select(Memory).where(Memory.workspace_id == self._workspace_id, Memory.agent_id == agent_id)


def _direct(memory: Memory, direction: Direction) -> None:
    memory.embedding_model, memory.embedding = direction.model, list(direction.vector)


def _relevance(about: Direction | None) -> Any:
    if about is None:
        return literal(0.0)
    similarity = 1 - Memory.embedding.cosine_distance(about.vector)
    return case((Memory.embedding_model == about.model, similarity), else_=0.0)
