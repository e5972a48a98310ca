"""Searching in knowledge."""

from uuid import UUID

from fastapi import APIRouter

from app.core.requests import PREFIX
from app.dependencies import Cursor, Limit, ReadsKnowledge, Search
from app.routes.responses import problems
from app.schemas.base import Page
from app.schemas.search import ChunkRead, SearchCreate, SearchRead

router = APIRouter(prefix=PREFIX + "/knowledge", tags=["knowledge"])


@router.post("/search", responses=problems(401, 403, 404, 413, 422, 424, 429, 502, 503))
async def search(request: SearchCreate, actor: ReadsKnowledge, passages: Search) -> SearchRead:
    """Find passages of the workspace's documents; the best first."""
    return await passages.search(actor, request)


@router.get("/documents/{document_id}/chunks", responses=problems(401, 403, 404, 422))
async def list_chunks(
    document_id: UUID, actor: ReadsKnowledge, passages: Search, limit: Limit = 50, cursor: Cursor = None
) -> Page[ChunkRead]:
    """The pieces that a document was cut into, in their order."""
    return await passages.list_chunks(actor, document_id, limit, cursor)
