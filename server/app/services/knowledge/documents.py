"""Documents, as people add, read, replace and delete them; the work on them is done by jobs."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

from app.core.errors import Conflict
from app.core.ids import new_id
from app.core.outgoing import Outgoing
from app.domain.audit import Action
from app.models import Document
from app.repositories.jobs import CHORES_QUEUE, KNOWLEDGE_QUEUE
from app.schemas.base import Page
from app.schemas.knowledge import DocumentDetail, DocumentRead
from app.services.callers import Actor
from app.services.knowledge.originals import Originals
from app.services.knowledge.parsing.errors import FileEmpty
from app.services.knowledge.submissions import Submission
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

INGEST_TASK = "ingest_document"
FORGET_TASK = "forget_document"
MOST_TRIES = 3
UNKNOWN_TYPE = "application/octet-stream"


class ContentTaken(Conflict):
    """Another document of the base has this very content."""

    code = "content_taken"


class NotFetched(Conflict):
    """Nothing of the URL has come yet."""

    code = "not_fetched"


@dataclass(frozen=True, slots=True)
class Original:
    """What a document was made of."""

    file_name: str
    media_type: str
    pages: AsyncIterator[bytes]


class DocumentService:
    """The documents of the workspace's bases."""

    def __init__(self, uow: UnitOfWorkFactory, originals: Originals, outgoing: Outgoing) -> None:
        self._uow = uow
        self._originals = originals
        self._outgoing = outgoing

    async def add(self, actor: Actor, base_id: UUID, given: Submission) -> DocumentRead:
        """Keep it and queue its ingestion; what the base has already is not added again, only tried anew."""
        await self._check(given)
        content_hash = await asyncio.to_thread(given.content_hash)
        async with self._uow(actor.workspace_id) as work:
            await work.knowledge.get_base(base_id)
            present = await work.knowledge.find_by_content(base_id, content_hash)
            if present is not None:
                return await _found_again(work, present)
        original_id = await self._keep(actor, given)
        for _ in range(MOST_TRIES):
            async with self._uow(actor.workspace_id) as work:
                await work.knowledge.get_base(base_id, keep=True)
                document = _new_document(actor, base_id, given, content_hash, original_id)
                if await work.knowledge.add_document(document):
                    if original_id is not None:
                        await work.originals.tie(original_id)
                    await queue_ingestion(work, document)
                    return DocumentRead.model_validate(document)
                # Somebody was faster; our copy of the file is loose and goes by itself.
                present = await work.knowledge.find_by_content(base_id, content_hash)
                if present is not None:
                    return await _found_again(work, present)
            # And is gone again already.
        raise ContentTaken("a document of this content was added and deleted again and again meanwhile; try again")

    async def replace(self, actor: Actor, document_id: UUID, given: Submission) -> DocumentRead:
        """Give the document another content; what is the same in both keeps its chunks and their vectors."""
        await self._check(given)
        content_hash = await asyncio.to_thread(given.content_hash)
        async with self._uow.reading(actor.workspace_id) as work:
            document = await work.knowledge.get_document(document_id, with_text=False)
        # nosemgrep: a-secret-is-compared-in-constant-time - both are the owner's own
        if document.content_hash == content_hash and document.status != "failed":
            return DocumentRead.model_validate(document)
        original_id = await self._keep(actor, given)
        async with self._uow(actor.workspace_id) as work:
            document = await work.knowledge.get_document(document_id, for_update=True, with_text=False)
            former_id = document.original_id
            document.content_hash = content_hash
            document.generation += 1
            _fill(document, given, original_id)
            if given.text is not None:
                # Its chunks are those of the text before until it is cut; where its pages began says nothing of it.
                document.text, document.page_starts = given.text, None
            if not await work.knowledge.change_document():
                raise ContentTaken("another document of this base has this content")
            if original_id is not None:
                await work.originals.tie(original_id)
            if former_id is not None:
                await _queue_forgetting(work, document, former_id, is_gone=False)
            await queue_ingestion(work, document)
        return DocumentRead.model_validate(document)

    async def refresh(self, actor: Actor, document_id: UUID) -> DocumentRead:
        """Fetch a URL again, or take in anew what is kept; nothing if that is going on already."""
        async with self._uow(actor.workspace_id) as work:
            document = await work.knowledge.get_document(document_id, for_update=True, with_text=False)
            if document.status in {"ready", "failed"}:
                await _begin_anew(work, document)
        return DocumentRead.model_validate(document)

    async def get(self, actor: Actor, document_id: UUID) -> DocumentDetail:
        async with self._uow.reading(actor.workspace_id) as work:
            return DocumentDetail.model_validate(await work.knowledge.get_document(document_id))

    async def list_page(
        self, actor: Actor, base_id: UUID, *, status: str | None, text: str | None, limit: int, cursor: str | None
    ) -> Page[DocumentRead]:
        """Newest first; `text` is looked for in titles and names of files."""
        async with self._uow.reading(actor.workspace_id) as work:
            await work.knowledge.get_base(base_id)
            rows, following = await work.knowledge.list_documents(base_id, limit, cursor, status=status, text=text)
        return Page(items=[DocumentRead.model_validate(row) for row in rows], next_cursor=following)

    async def read_original(self, actor: Actor, document_id: UUID) -> Original:
        """What it was made of, a piece at a time; raise `NotFetched` for a URL of which nothing came yet."""
        async with self._uow.reading(actor.workspace_id) as work:
            document = await work.knowledge.get_document(document_id)
        if document.source == "text":
            return Original(f"{document.title}.md", document.media_type, _pages_of(document.text))
        if document.original_id is None:
            raise NotFetched("there is nothing of this document yet; try again when it is ready")
        pages = self._originals.read(actor.workspace_id, document.original_id)
        first = await anext(pages, b"")  # what is wrong with it must be known before the answer begins
        return Original(document.file_name or document.title, document.media_type, _after(first, pages))

    async def delete(self, actor: Actor, document_id: UUID) -> None:
        async with self._uow(actor.workspace_id) as work:
            document = await work.knowledge.get_document(document_id, for_update=True, with_text=False)
            await _queue_forgetting(work, document, document.original_id, is_gone=True)
            await work.knowledge.delete_document(document)
            work.audit.record(Action.DOCUMENT_DELETED, actor, document_id)

    async def _check(self, given: Submission) -> None:
        if given.url is not None:
            await self._outgoing.check_url(given.url)
        if given.source == "file" and not given.data:
            raise FileEmpty("the file is empty: there is nothing in it to read", "file")

    async def _keep(self, actor: Actor, given: Submission) -> UUID | None:
        return await self._originals.keep(actor.workspace_id, given.data) if given.source == "file" else None


def ingestion_lock(document_id: UUID) -> str:
    """What lets one job at a time take the document in."""
    return f"document:{document_id}"


async def queue_ingestion(work: UnitOfWork, document: Document) -> None:
    """Queue the job that makes it findable, in the transaction that wants it."""
    await work.jobs.defer_once(
        INGEST_TASK,
        KNOWLEDGE_QUEUE,
        ingestion_lock(document.id),
        workspace_id=str(document.workspace_id),
        document_id=str(document.id),
    )


async def _found_again(work: UnitOfWork, document: Document) -> DocumentRead:
    if document.status == "failed":
        await _begin_anew(work, document)
    return DocumentRead.model_validate(document)


async def _begin_anew(work: UnitOfWork, document: Document) -> None:
    document.generation += 1
    if document.source == "file":  # a URL is fetched again
        document.original_generation = document.generation
    _reset(document)
    await work.flush()
    await queue_ingestion(work, document)


def _new_document(
    actor: Actor, base_id: UUID, given: Submission, content_hash: bytes, original_id: UUID | None
) -> Document:
    document = Document(
        id=new_id(),
        workspace_id=actor.workspace_id,
        base_id=base_id,
        text=given.text or "",
        content_hash=content_hash,
        generation=1,
        created_by=actor.user_id,
    )
    _fill(document, given, original_id)
    return document


def _fill(document: Document, given: Submission, original_id: UUID | None) -> None:
    """Make the document what was handed in, to be worked on from the beginning."""
    document.title, document.source = given.name, given.source
    document.url, document.file_name = given.url, given.file_name
    document.media_type = "text/markdown" if given.source == "text" else given.declared or UNKNOWN_TYPE
    document.size_bytes = given.size_bytes
    document.original_id = original_id
    document.original_generation = document.generation if original_id is not None else 0
    _reset(document)


def _reset(document: Document) -> None:
    document.status, document.progress = "queued", 0.0
    document.error = document.error_code = None
    document.begun = document.embedded_count = 0


async def _queue_forgetting(work: UnitOfWork, document: Document, original_id: UUID | None, *, is_gone: bool) -> None:
    """Queue what lies outside of this transaction: a file, and if the document is gone, vectors elsewhere."""
    await work.jobs.defer(
        FORGET_TASK,
        CHORES_QUEUE,
        workspace_id=str(document.workspace_id),
        document_id=str(document.id) if is_gone else "",
        original_id=str(original_id) if original_id else "",
    )


async def _pages_of(text: str) -> AsyncIterator[bytes]:
    yield text.encode()


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
