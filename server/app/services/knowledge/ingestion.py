"""Taking documents in: fetch, read, cut, embed, each step committed, so that a crash goes on from there.

Always holds: what is written carries the generation of the content it was made of, and is nothing for another one; a
step that is done twice, even by two at once, leaves what it leaves when done once; no transaction is open while
something is fetched, read or embedded. A document is `ready` only when each of its chunks has a vector of each model
that its base is embedded by at that moment. What its chunks say is changed in one transaction with its text.

A crash leaves the document `processing` and the job to whoever puts back what dead workers had in hand. One on which
work was begun `MOST_BEGUN` times without progress is given up: it may be what ended the workers. What is known to be
away, and comes back, is not counted, and `MOST_ATTEMPTS` are counted from the last progress, too.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from uuid import UUID

import structlog

from app.config import Settings
from app.core.errors import ArenaError, Conflict, Unavailable, UpstreamFailed
from app.core.outgoing import Unreachable
from app.domain.chunk_changes import changes, embedded_text, hash_of
from app.domain.documents import ParsedDocument, Piece
from app.models import Document
from app.repositories.documents import Begun
from app.repositories.jobs import CHORES_QUEUE, KNOWLEDGE_QUEUE
from app.services.embedding.catalog import EmbeddingCatalog
from app.services.knowledge.chunking import cut
from app.services.knowledge.documents import FORGET_TASK, INGEST_TASK, ingestion_lock
from app.services.knowledge.embedding import ChunkEmbedding
from app.services.knowledge.enrichment import queue_enrichment
from app.services.knowledge.fetching import Fetcher
from app.services.knowledge.languages import language_of, regconfig_of
from app.services.knowledge.originals import Originals, OriginalsAway
from app.services.knowledge.parsing.errors import FileHasNoText
from app.services.knowledge.parsing.parser import Parser, read_text
from app.services.knowledge.removal import queue_forgetting_chunks
from app.services.knowledge.submissions import default_title
from app.services.providers.base import ModelError
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.vector_store import VectorStore

log = structlog.stdlib.get_logger(__name__)

FETCHED, READ, CUT = 0.1, 0.2, 0.3
"""How far a document is after these steps; embedding is the rest."""
PROGRESS_SECONDS = 0.25
MOST_ATTEMPTS = 6
FIRST_WAIT_SECONDS = 2.0
MOST_BEGUN = 20


class GivenUp(Conflict):
    """Work on it was begun again and again, and never came to an end."""

    code = "document_given_up"


class _Gone(Exception):
    """The document is deleted, or has another content by now."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """A document as it will be: its text, its pieces and what they are known again by."""

    parsed: ParsedDocument
    title: str
    pieces: Sequence[Piece]
    hashes: Sequence[bytes]
    language: str | None

    def embedded(self, place: int) -> str:
        piece = self.pieces[place]
        return embedded_text(self.title, piece.heading, piece.text)


class Ingestion:
    """Takes one document in at a time; any number of these may work at once."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        originals: Originals,
        parser: Parser,
        fetcher: Fetcher,
        embeddings: EmbeddingCatalog,
        vectors: VectorStore,
        settings: Settings,
    ) -> None:
        self._uow = uow
        self._originals = originals
        self._parser = parser
        self._fetcher = fetcher
        self._embedding = ChunkEmbedding(uow, embeddings, vectors)
        self._enriches = settings.documents.enrichment == "on"
        self._most_characters = settings.documents.document_characters

    async def ingest(self, workspace_id: UUID, document_id: UUID, attempt: int) -> None:
        """Take the document in, or go on with it; what may pass is tried again later. Raise `Unavailable`."""
        async with self._uow(workspace_id) as work:
            begun = await work.documents.begin(document_id)
        if begun is None:
            return
        try:
            await self._try(begun, attempt)
        except _Gone:
            log.info("document_left", document_id=str(document_id))

    async def _try(self, begun: Begun, attempt: int) -> None:
        try:
            await self._take_in(begun)
        except _Gone:
            raise
        except ArenaError as error:
            if isinstance(error, Unavailable) and not isinstance(error, OriginalsAway):
                await self._take_back(begun)
                raise  # the database or the vectors are away: the queue tries again, for as long as it takes
            await self._end_or_wait(begun, error, attempt)
        except Exception:
            log.exception("document_failed", document_id=str(begun.id))
            await self._fail(begun, "something went wrong here while it was taken in", "internal_error")

    async def _take_in(self, begun: Begun) -> None:
        if begun.begun > MOST_BEGUN:
            raise GivenUp("it could not be taken in: each try was cut short; split it or save it in another form")
        new: Mapping[UUID, str] = {}
        if not begun.is_cut:
            new = await self._write(begun, await self._cut(begun, await self._read(begun)))
        while not await self._embed(begun, new):
            new = {}  # they have vectors of some model by now
            log.info("document_embedded_anew", document_id=str(begun.id))

    async def _read(self, begun: Begun) -> ParsedDocument:
        """What it says, from where it is kept or from its URL."""
        if begun.source == "text":
            async with self._uow.reading(begun.workspace_id) as work:
                text = await work.documents.find_text(begun.id)
            return await asyncio.to_thread(read_text, text or "", markdown=True, most_characters=self._most_characters)
        original, declared, name = await self._original(begun)
        await self._advance(begun, FETCHED)
        parsed = await self._parser.parse(original, file_name=name, declared=declared)
        await self._advance(begun, READ)
        return parsed

    async def _original(self, begun: Begun) -> tuple[bytes, str, str | None]:
        """The bytes, the type they were said to be of, and their name; a URL is fetched once for each content."""
        if begun.source != "url" or begun.has_original:
            if begun.original_id is None:
                raise FileHasNoText("there is no file of this document; upload it again")
            original = await self._originals.read_whole(begun.workspace_id, begun.original_id)
            return original, begun.media_type, begun.file_name
        assert begun.url is not None
        fetched = await self._fetcher.fetch(begun.url)
        original_id = await self._originals.keep(begun.workspace_id, memoryview(fetched.body))
        declared = fetched.declared or begun.media_type
        async with self._uow(begun.workspace_id) as work:
            document = await _lock(work, begun)
            if document.original_id is not None:
                await work.jobs.defer(
                    FORGET_TASK,
                    CHORES_QUEUE,
                    workspace_id=str(begun.workspace_id),
                    document_id="",
                    original_id=str(document.original_id),
                )
            await work.originals.tie(original_id)
            document.original_id, document.original_generation = original_id, begun.generation
            document.size_bytes, document.media_type = len(fetched.body), declared
            document.file_name = fetched.name
        return fetched.body, declared, fetched.name

    async def _cut(self, begun: Begun, parsed: ParsedDocument) -> _Cut:
        own = parsed.title if begun.source != "text" else None
        is_unnamed = begun.title == default_title(None if begun.source == "url" else begun.file_name, begun.url)
        title = own if own and is_unnamed else begun.title
        found = await asyncio.to_thread(_cut, parsed, title)
        if not found.pieces:
            raise FileHasNoText("there is no text in it: a scan has to be given a text layer first (OCR)")
        return found

    async def _write(self, begun: Begun, found: _Cut) -> Mapping[UUID, str]:
        """Make its text and its chunks what was read, in one transaction.

        The chunks that are new, each with what it is embedded as.
        """
        async with self._uow(begun.workspace_id) as work:
            document = await _lock(work, begun)
            changed = changes(await work.chunks.list_hashes(begun.id), found.hashes)
            # Only here is it sure that these chunks are not those of a newer content, whose vectors nobody would miss.
            await queue_forgetting_chunks(work, begun.workspace_id, changed.gone)
            added = await work.chunks.change(
                document, found.title, found.pieces, found.hashes, changed, regconfig_of(found.language)
            )
            document.text, document.title = found.parsed.text, found.title
            document.media_type = found.parsed.media_type
            document.page_starts = list(found.parsed.page_starts) if found.parsed.page_starts is not None else None
            document.language = found.language
            document.chunk_count, document.embedded_count = len(found.pieces), 0
            if document.progress < CUT:
                document.progress, document.begun = CUT, 0
            document.cut_generation = begun.generation
        return {chunk_id: found.embedded(place) for chunk_id, place in added}

    async def _embed(self, begun: Begun, new: Mapping[UUID, str]) -> bool:
        """Give its chunks the vectors they lack, and finish; False if the base has another model by now."""
        async with self._uow.reading(begun.workspace_id) as work:
            models = await work.documents.models_of(begun.base_id)
            chunks = [(chunk_id, begun.id) for chunk_id in await work.chunks.list_ids(begun.id)]
        if models is None:
            raise _Gone
        try:
            await self._embed_by(begun, models.wanted, chunks, new)
            return await self._finish(begun, models.wanted)
        except _Gone:
            await self._forget(begun, [chunk_id for chunk_id, _ in chunks])
            raise

    async def _finish(self, begun: Begun, embedded_by: Collection[str]) -> bool:
        """Have it be ready; False if the base has another model by now."""
        async with self._uow(begun.workspace_id) as work:
            now = await work.documents.models_of(begun.base_id, keep=True)
            if now is None or not set(now.wanted) <= set(embedded_by):
                return False
            if not await work.documents.finish(begun, is_to_be_enriched=self._enriches):
                raise _Gone
            if self._enriches:
                await queue_enrichment(work, begun.workspace_id, begun.id)
        return True

    async def _forget(self, begun: Begun, chunk_ids: Sequence[UUID]) -> None:
        """The vectors of those that went meanwhile: some may have been written after the others were deleted."""
        async with self._uow(begun.workspace_id) as work:
            there = set(await work.chunks.list_ids(begun.id))
            gone = [chunk_id for chunk_id in chunk_ids if chunk_id not in there]
            await queue_forgetting_chunks(work, begun.workspace_id, gone)

    async def _embed_by(
        self, begun: Begun, models: Sequence[str], chunks: Sequence[tuple[UUID, UUID]], new: Mapping[UUID, str]
    ) -> None:
        """By each of the models, telling how far it is now and then, and when it fails."""
        told_at, share = monotonic(), 0.0
        try:
            for number, model in enumerate(models):
                async for done in self._embedding.embed(begun.workspace_id, begun.base_id, model, chunks, new):
                    share = (number + done / max(1, len(chunks))) / len(models)
                    if monotonic() - told_at > PROGRESS_SECONDS:
                        told_at = monotonic()
                        await self._advance_embedding(begun, share, len(chunks))
        except ArenaError:
            await self._advance_embedding(begun, share, len(chunks))
            raise

    async def _advance_embedding(self, begun: Begun, share: float, chunks: int) -> None:
        await self._advance(begun, CUT + (1 - CUT) * share, int(share * chunks))

    async def _advance(self, begun: Begun, progress: float, embedded: int = 0) -> None:
        async with self._uow(begun.workspace_id) as work:
            if not await work.documents.advance(begun, progress, embedded):
                raise _Gone

    async def _take_back(self, begun: Begun) -> None:
        with suppress(Unavailable):
            async with self._uow(begun.workspace_id) as work:
                await work.documents.take_back(begun)

    async def _end_or_wait(self, begun: Begun, error: ArenaError, attempt: int) -> None:
        """Try again what may pass, each time later; what will not pass, or not any more, is the document's failure."""
        if may_pass(error) and await self._is_further(begun):
            attempt = 1
        if not may_pass(error) or attempt >= MOST_ATTEMPTS:
            await self._fail(begun, error.detail, error.code)
            return
        wait = FIRST_WAIT_SECONDS * 2 ** (attempt - 1)
        log.info("document_waits", document_id=str(begun.id), code=error.code, seconds=wait)
        async with self._uow(begun.workspace_id) as work:
            await _lock(work, begun)
            await work.jobs.defer_alone(
                INGEST_TASK,
                KNOWLEDGE_QUEUE,
                ingestion_lock(begun.id),
                at=work.now() + timedelta(seconds=wait),
                workspace_id=str(begun.workspace_id),
                document_id=str(begun.id),
                attempt=attempt + 1,
            )

    async def _is_further(self, begun: Begun) -> bool:
        async with self._uow(begun.workspace_id) as work:
            return (await _lock(work, begun)).progress > begun.progress

    async def _fail(self, begun: Begun, error: str, code: str) -> None:
        async with self._uow(begun.workspace_id) as work:
            await work.documents.fail(begun, error, code)
        log.info("document_not_taken_in", document_id=str(begun.id), code=code)


def may_pass(error: ArenaError) -> bool:
    """Whether the same may succeed later."""
    if isinstance(error, ModelError):
        return error.retryable
    return isinstance(error, Unreachable | OriginalsAway | UpstreamFailed)


def _cut(parsed: ParsedDocument, title: str) -> _Cut:
    pieces = cut(parsed)
    hashes = [hash_of(embedded_text(title, piece.heading, piece.text)) for piece in pieces]
    return _Cut(parsed, title, pieces, hashes, language_of(parsed.text))


async def _lock(work: UnitOfWork, begun: Begun) -> Document:
    document = await work.documents.lock(begun)
    if document is None:
        raise _Gone
    return document
