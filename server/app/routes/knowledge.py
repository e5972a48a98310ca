"""Knowledge bases."""

from functools import partial
from uuid import UUID

from fastapi import APIRouter, Response

from app.core.requests import PREFIX
from app.dependencies import Cursor, Kept, Knowledge, Limit, ReadsKnowledge, WritesKnowledge
from app.domain.kinds import Kind
from app.routes.idempotent import CreatingRoute
from app.routes.responses import kept_page, problems
from app.schemas.base import Page
from app.schemas.knowledge import KnowledgeBaseCreate, KnowledgeBaseRead, KnowledgeBaseUpdate

router = APIRouter(prefix=PREFIX + "/knowledge", tags=["knowledge"], route_class=CreatingRoute)


@router.post("/bases", status_code=201, responses=problems(401, 403, 404, 409, 413, 422))
async def create_base(
    request: KnowledgeBaseCreate, response: Response, actor: WritesKnowledge, knowledge: Knowledge
) -> KnowledgeBaseRead:
    """Create a knowledge base."""
    base = await knowledge.create_base(actor, request)
    response.headers["Location"] = f"/api/v1/knowledge/bases/{base.id}"
    return base


@router.get("/bases", response_model=Page[KnowledgeBaseRead], responses=problems(401, 403, 404, 422))
async def list_bases(
    actor: ReadsKnowledge, knowledge: Knowledge, kept: Kept, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Newest first."""
    make = partial(knowledge.list_bases, actor, limit, cursor)
    return await kept_page(kept, actor, Kind.BASES, [limit, cursor], make)


@router.get("/bases/{base_id}", responses=problems(401, 403, 404, 422))
async def get_base(base_id: UUID, actor: ReadsKnowledge, knowledge: Knowledge) -> KnowledgeBaseRead:
    """A knowledge base."""
    return await knowledge.get_base(actor, base_id)


@router.patch("/bases/{base_id}", responses=problems(401, 403, 404, 409, 413, 422))
async def update_base(
    base_id: UUID, request: KnowledgeBaseUpdate, actor: WritesKnowledge, knowledge: Knowledge
) -> KnowledgeBaseRead:
    """Rename or describe it, or have its documents embedded by another model, which a job does."""
    return await knowledge.update_base(actor, base_id, request)


@router.delete("/bases/{base_id}", status_code=204, responses=problems(401, 403, 404, 422))
async def delete_base(base_id: UUID, actor: WritesKnowledge, knowledge: Knowledge) -> None:
    """Delete the base with its documents; they are gone at once."""
    await knowledge.delete_base(actor, base_id)
