"""What an agent remembers: list, tell, search, edit, forget."""

from uuid import UUID

from fastapi import APIRouter, Response

from app.core.requests import PREFIX
from app.dependencies import Cursor, Limit, Memories, ReadsAgents, SearchText, WritesAgents
from app.routes.idempotent import CreatingRoute
from app.routes.responses import problems
from app.schemas.base import Page
from app.schemas.memory import MemoriesFound, MemoryCreate, MemoryRead, MemorySearch, MemoryUpdate

router = APIRouter(prefix=PREFIX + "/agents/{agent_id}/memories", tags=["memory"], route_class=CreatingRoute)


@router.get("", responses=problems(401, 403, 404, 422))
async def list_memories(
    agent_id: UUID,
    actor: ReadsAgents,
    memories: Memories,
    q: SearchText = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[MemoryRead]:
    """What the agent remembers, newest first; `q` is looked for in it."""
    return await memories.list_page(actor, agent_id, text=q, limit=limit, cursor=cursor)


@router.post("", status_code=201, responses=problems(401, 403, 404, 413, 422))
async def create_memory(
    agent_id: UUID, request: MemoryCreate, response: Response, actor: WritesAgents, memories: Memories
) -> MemoryRead:
    """Tell the agent something. Beyond 2,000 memories it forgets what is least important and longest not recalled."""
    memory = await memories.create(actor, agent_id, request)
    response.headers["Location"] = f"/api/v1/agents/{agent_id}/memories/{memory.id}"
    return memory


@router.delete("", status_code=204, responses=problems(401, 403, 404, 422))
async def forget_memories(agent_id: UUID, actor: WritesAgents, memories: Memories) -> None:
    """Have the agent forget everything."""
    await memories.forget_all(actor, agent_id)


@router.post("/search", responses=problems(401, 403, 404, 413, 422))
async def search_memories(
    agent_id: UUID, request: MemorySearch, actor: ReadsAgents, memories: Memories
) -> MemoriesFound:
    """What comes to the agent's mind first: by relevance, importance, and how lately it came to mind."""
    return await memories.search(actor, agent_id, request)


@router.get("/{memory_id}", responses=problems(401, 403, 404, 422))
async def get_memory(agent_id: UUID, memory_id: UUID, actor: ReadsAgents, memories: Memories) -> MemoryRead:
    """One memory and where it is from."""
    return await memories.get(actor, agent_id, memory_id)


@router.patch("/{memory_id}", responses=problems(401, 403, 404, 413, 422))
async def update_memory(
    agent_id: UUID, memory_id: UUID, request: MemoryUpdate, actor: WritesAgents, memories: Memories
) -> MemoryRead:
    """Reword it, or say how much it matters; a person's wording stays, also when the agent hears it again."""
    return await memories.update(actor, agent_id, memory_id, request)


@router.delete("/{memory_id}", status_code=204, responses=problems(401, 403, 404, 422))
async def forget_memory(agent_id: UUID, memory_id: UUID, actor: WritesAgents, memories: Memories) -> None:
    """Have the agent forget it."""
    await memories.forget(actor, agent_id, memory_id)
