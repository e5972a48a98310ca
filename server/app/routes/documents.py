"""Documents: handed in as texts, files or URLs, taken in by jobs, read, replaced and deleted."""

from functools import partial
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Response

from app.core.requests import PREFIX
from app.dependencies import Cursor, Documents, Kept, Limit, ReadsKnowledge, SearchText, Sent, WritesKnowledge
from app.domain.kinds import Kind
from app.routes.document_bodies import BODIES, Handed
from app.routes.downloads import Download, Pages
from app.routes.idempotent import CreatingRoute
from app.routes.responses import kept_page, problems
from app.schemas.base import Page
from app.schemas.knowledge import DocumentDetail, DocumentRead, DocumentStatus

router = APIRouter(prefix=PREFIX + "/knowledge", tags=["knowledge"], route_class=CreatingRoute)


@router.post(
    "/bases/{base_id}/documents",
    status_code=202,
    responses=problems(400, 401, 403, 404, 413, 422),
    openapi_extra=BODIES,
)
async def add_document(
    base_id: UUID, actor: WritesKnowledge, documents: Documents, handed: Handed, response: Response
) -> DocumentRead:
    """Add a text, a file or what is at a URL; what the base has already is answered with the document that is there."""
    document = await documents.add(actor, base_id, handed)
    response.headers["Location"] = f"/api/v1/knowledge/documents/{document.id}"
    return document


@router.get("/bases/{base_id}/documents", response_model=Page[DocumentRead], responses=problems(401, 403, 404, 422))
async def list_documents(
    base_id: UUID,
    actor: ReadsKnowledge,
    documents: Documents,
    kept: Kept,
    status: DocumentStatus | None = None,
    q: SearchText = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Newest first, without their texts; `q` is looked for in titles and names of files."""
    make = partial(documents.list_page, actor, base_id, status=status, text=q, limit=limit, cursor=cursor)
    return await kept_page(kept, actor, Kind.DOCUMENTS, [base_id, status, q, limit, cursor], make)


@router.get("/documents/{document_id}", responses=problems(401, 403, 404, 422))
async def get_document(document_id: UUID, actor: ReadsKnowledge, documents: Documents) -> DocumentDetail:
    """A document with its text."""
    return await documents.get(actor, document_id)


@router.put(
    "/documents/{document_id}",
    status_code=202,
    responses=problems(400, 401, 403, 404, 409, 413, 422),
    openapi_extra=BODIES,
)
async def replace_document(
    document_id: UUID, actor: WritesKnowledge, documents: Documents, handed: Handed
) -> DocumentRead:
    """Give it another content; searches find the old one until the new one is read."""
    return await documents.replace(actor, document_id, handed)


@router.post("/documents/{document_id}/refresh", status_code=202, responses=problems(401, 403, 404, 422))
async def refresh_document(document_id: UUID, actor: WritesKnowledge, documents: Documents) -> DocumentRead:
    """Fetch its URL again, or try again to read what is kept."""
    return await documents.refresh(actor, document_id)


@router.get(
    "/documents/{document_id}/original",
    response_class=Response,
    responses={
        200: {
            "description": "What it was made of, as it came",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        **problems(401, 403, 404, 409, 422),
    },
)
async def get_original(document_id: UUID, actor: ReadsKnowledge, documents: Documents, sent: Sent) -> Download:
    """What the document was made of, to be saved and not shown: whoever uploaded it may be nobody's friend."""
    original = await documents.read_original(actor, document_id)

    async def begin() -> Pages:
        return original.pages

    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(original.file_name, safe='')}"}
    return Download(sent, actor.user_id, begin, media_type="application/octet-stream", headers=headers)


@router.delete("/documents/{document_id}", status_code=204, responses=problems(401, 403, 404, 422))
async def delete_document(document_id: UUID, actor: WritesKnowledge, documents: Documents) -> None:
    """Delete the document; work on it ends by itself."""
    await documents.delete(actor, document_id)
