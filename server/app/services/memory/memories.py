"""What an agent remembers, for people: written, listed, searched, edited and forgotten."""

from collections.abc import Sequence
from uuid import UUID

from app.core.ids import new_id
from app.domain.audit import Action
from app.domain.memories import Sources, beyond_room, first_to_mind
from app.models import Memory
from app.schemas.base import Page
from app.schemas.memory import (
    MemoriesFound,
    MemoryCreate,
    MemoryFound,
    MemoryRead,
    MemorySearch,
    MemorySourceRead,
    MemoryUpdate,
)
from app.services.callers import Actor
from app.services.embedding.catalog import EmbeddingCatalog
from app.services.memory.directions import directions_of
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

MANUAL, DISCUSSION = "manual", "discussion"


def read_memory(memory: Memory, sources: Sources) -> MemoryRead:
    told = [MemorySourceRead(discussion_id=key, seqs=sorted(seqs)) for key, seqs in sources.items()]
    fields = {name: getattr(memory, name) for name in MemoryRead.model_fields if name != "sources"}
    return MemoryRead(**fields, sources=sorted(told, key=lambda source: source.discussion_id, reverse=True))


async def keep_within_room(work: UnitOfWork, agent_id: UUID) -> int:
    """Forget the least worth of what the agent, whose row is locked, has too much of; how many."""
    forgotten = beyond_room(await work.memories.traces(agent_id), work.now())
    if forgotten:
        await work.memories.forget(agent_id, forgotten)
    return len(forgotten)


class MemoryService:
    """The memories of the workspace's agents, whoever of its members asks."""

    def __init__(self, uow: UnitOfWorkFactory, embeddings: EmbeddingCatalog) -> None:
        self._uow = uow
        self._embeddings = embeddings

    async def create(self, actor: Actor, agent_id: UUID, request: MemoryCreate) -> MemoryRead:
        """Tell the agent something; what it has too much of then, it forgets."""
        [direction] = await directions_of(self._embeddings, actor.workspace_id, [request.content])
        memory = Memory(
            id=new_id(),
            workspace_id=actor.workspace_id,
            agent_id=agent_id,
            content=request.content,
            importance=request.importance,
            source=MANUAL,
            created_by=actor.user_id,
            recall_count=0,
        )
        async with self._uow(actor.workspace_id) as work:
            await work.agents.get(agent_id, for_update=True)
            await work.memories.add(memory, direction)
            await keep_within_room(work, agent_id)
        return read_memory(memory, {})

    async def get(self, actor: Actor, agent_id: UUID, memory_id: UUID) -> MemoryRead:
        async with self._uow.reading(actor.workspace_id) as work:
            await work.agents.get(agent_id)
            [memory] = await _read_all(work, [await work.memories.get(agent_id, memory_id)])
        return memory

    async def list_page(
        self, actor: Actor, agent_id: UUID, *, text: str | None, limit: int, cursor: str | None
    ) -> Page[MemoryRead]:
        """Newest first; `text` is looked for as it is."""
        async with self._uow.reading(actor.workspace_id) as work:
            await work.agents.get(agent_id)
            rows, following = await work.memories.list_page(agent_id, words=text, limit=limit, cursor=cursor)
            items = await _read_all(work, rows)
        return Page(items=items, next_cursor=following)

    async def search(self, actor: Actor, agent_id: UUID, request: MemorySearch) -> MemoriesFound:
        """What comes to the agent's mind first; that somebody looks does not make it remember better."""
        async with self._uow.reading(actor.workspace_id) as work:
            await work.agents.get(agent_id)
        [about] = await directions_of(self._embeddings, actor.workspace_id, [request.query])
        async with self._uow.reading(actor.workspace_id) as work:
            first = first_to_mind(await work.memories.traces(agent_id, about), work.now(), request.k)
            rows = await work.memories.find_many(agent_id, [trace.memory_id for trace, _ in first])
            shown = {memory.id: memory for memory in await _read_all(work, list(rows.values()))}
        found = [
            MemoryFound(**dict(shown[trace.memory_id]), score=score, relevance=trace.relevance)
            for trace, score in first
            if trace.memory_id in shown
        ]
        return MemoriesFound(items=found)

    async def update(self, actor: Actor, agent_id: UUID, memory_id: UUID, request: MemoryUpdate) -> MemoryRead:
        """Reword it, or say how much it matters."""
        direction = None
        if request.content is not None:
            [direction] = await directions_of(self._embeddings, actor.workspace_id, [request.content])
        async with self._uow(actor.workspace_id) as work:
            await work.agents.get(agent_id, for_update=True)
            memory = await work.memories.get(agent_id, memory_id, for_update=True)
            if request.importance is not None:
                memory.importance = request.importance
            if request.content is not None and direction is not None:
                memory.created_by = actor.user_id
                await work.memories.reword(memory, request.content, direction)
            [changed] = await _read_all(work, [memory])
        return changed

    async def forget(self, actor: Actor, agent_id: UUID, memory_id: UUID) -> None:
        async with self._uow(actor.workspace_id) as work:
            await work.agents.get(agent_id, for_update=True)
            await work.memories.get(agent_id, memory_id)
            await work.memories.forget(agent_id, [memory_id])
            work.audit.record(Action.MEMORY_FORGOTTEN, actor, memory_id)

    async def forget_all(self, actor: Actor, agent_id: UUID) -> None:
        """Nothing of what the agent has learned is left; what is being distilled for it may still come."""
        async with self._uow(actor.workspace_id) as work:
            await work.agents.get(agent_id, for_update=True)
            count = await work.memories.forget_all(agent_id)
            work.audit.record(Action.AGENT_FORGOT_ALL, actor, agent_id, memories=count)


async def _read_all(work: UnitOfWork, memories: Sequence[Memory]) -> list[MemoryRead]:
    await work.flush()
    sources = await work.memories.sources_of([memory.id for memory in memories]) if memories else {}
    return [read_memory(memory, sources[memory.id]) for memory in memories]
