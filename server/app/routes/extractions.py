"""What is extracted from documents: asked for, read, listed and deleted."""

from uuid import UUID

from fastapi import APIRouter, Response

from app.core.requests import PREFIX
from app.dependencies import Cursor, Extractions, Limit, ReadsKnowledge, WritesKnowledge
from app.routes.idempotent import CreatingRoute
from app.routes.responses import problems
from app.schemas.base import Page
from app.schemas.extraction import ExtractionCreate, ExtractionDetail, ExtractionRead

router = APIRouter(prefix=PREFIX + "/knowledge", tags=["knowledge"], route_class=CreatingRoute)


@router.post("/documents/{document_id}/extract", status_code=202, responses=problems(401, 403, 404, 409, 413, 422))
async def begin_extraction(
    document_id: UUID, request: ExtractionCreate, response: Response, actor: WritesKnowledge, extractions: Extractions
) -> ExtractionRead:
    """Have a model fill a JSON Schema from the document; `Location` is where the result will be."""
    extraction = await extractions.begin(actor, document_id, request)
    response.headers["Location"] = f"/api/v1/knowledge/extractions/{extraction.id}"
    return extraction


@router.get("/documents/{document_id}/extractions", responses=problems(401, 403, 404, 422))
async def list_extractions(
    document_id: UUID, actor: ReadsKnowledge, extractions: Extractions, limit: Limit = 50, cursor: Cursor = None
) -> Page[ExtractionRead]:
    """Newest first, without their results."""
    return await extractions.list_page(actor, document_id, limit, cursor)


@router.get("/extractions/{extraction_id}", responses=problems(401, 403, 404, 422))
async def get_extraction(extraction_id: UUID, actor: ReadsKnowledge, extractions: Extractions) -> ExtractionDetail:
    """An extraction: how far it is, and once it is done what was found, where, and what was not."""
    return await extractions.get(actor, extraction_id)


@router.delete("/extractions/{extraction_id}", status_code=204, responses=problems(401, 403, 404, 422))
async def delete_extraction(extraction_id: UUID, actor: WritesKnowledge, extractions: Extractions) -> None:
    """Delete it; work on it ends by itself."""
    await extractions.delete(actor, extraction_id)
