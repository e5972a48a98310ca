"""Searching in knowledge."""

from uuid import UUID

from fastapi import APIRouter, Response

from app.core.requests import PREFIX
from app.dependencies import Cursor, Kept, Limit, ReadsKnowledge, Search
from app.domain.kinds import Kind
from app.routes.responses import json_answer, problems
from app.schemas.base import Page
from app.schemas.search import ChunkRead, SearchCreate, SearchRead
from app.services.kept_answers import Passing

router = APIRouter(prefix=PREFIX + "/knowledge", tags=["knowledge"])


@router.post("/search", response_model=SearchRead, responses=problems(401, 403, 404, 413, 422, 424, 429, 502, 503))
async def search(request: SearchCreate, actor: ReadsKnowledge, passages: Search, kept: Kept) -> Response:
    """Find passages of the workspace's documents; the best first."""
    if request.rerank_model is not None:
        return json_answer((await passages.search(actor, request)).model_dump_json().encode())

    async def make() -> bytes:
        found = await passages.search(actor, request)
        text = found.model_dump_json().encode()
        return text if found.mode == request.mode else Passing(text)

    return json_answer(await kept.get("search", (actor.workspace_id, Kind.PASSAGES), request.model_dump(), make))


@router.get("/documents/{document_id}/chunks", responses=problems(401, 403, 404, 422))
async def list_chunks(
    document_id: UUID, actor: ReadsKnowledge, passages: Search, limit: Limit = 50, cursor: Cursor = None
) -> Page[ChunkRead]:
    """The pieces that a document was cut into, in their order."""
    return await passages.list_chunks(actor, document_id, limit, cursor)
