"""Knowledge bases and documents."""

from functools import partial
from uuid import UUID

from fastapi import APIRouter, Response

from app.core.requests import PREFIX
from app.dependencies import Cursor, Kept, Knowledge, Limit, ReadsKnowledge, WritesKnowledge
from app.domain.kinds import Kind
from app.routes.idempotent import CreatingRoute
from app.routes.responses import kept_page, problems
from app.schemas.base import Page
from app.schemas.knowledge import (
    DocumentCreate,
    DocumentDetail,
    DocumentRead,
    KnowledgeBaseCreate,
    KnowledgeBaseRead,
    KnowledgeBaseUpdate,
)

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
    """Rename or describe it."""
    return await knowledge.update_base(actor, base_id, request)


@router.delete("/bases/{base_id}", status_code=204, responses=problems(401, 403, 404, 422))
async def delete_base(base_id: UUID, actor: WritesKnowledge, knowledge: Knowledge) -> None:
    """Delete the base with its documents."""
    await knowledge.delete_base(actor, base_id)


@router.post("/bases/{base_id}/documents", status_code=202, responses=problems(401, 403, 404, 413, 422))
async def add_document(
    base_id: UUID, request: DocumentCreate, response: Response, actor: WritesKnowledge, knowledge: Knowledge
) -> DocumentRead:
    """Add a text or Markdown document; it is ready at once."""
    document = await knowledge.add_document(actor, base_id, request)
    response.headers["Location"] = f"/api/v1/knowledge/documents/{document.id}"
    return document


@router.get("/bases/{base_id}/documents", responses=problems(401, 403, 404, 422))
async def list_documents(
    base_id: UUID, actor: ReadsKnowledge, knowledge: Knowledge, limit: Limit = 50, cursor: Cursor = None
) -> Page[DocumentRead]:
    """Newest first, without their texts."""
    return await knowledge.list_documents(actor, base_id, limit, cursor)


@router.get("/documents/{document_id}", responses=problems(401, 403, 404, 422))
async def get_document(document_id: UUID, actor: ReadsKnowledge, knowledge: Knowledge) -> DocumentDetail:
    """A document with its text."""
    return await knowledge.get_document(actor, document_id)


@router.delete("/documents/{document_id}", status_code=204, responses=problems(401, 403, 404, 422))
async def delete_document(document_id: UUID, actor: WritesKnowledge, knowledge: Knowledge) -> None:
    """Delete the document."""
    await knowledge.delete_document(actor, document_id)
