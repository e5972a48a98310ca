"""What documents are cut into. Whoever writes chunks has their document's row locked."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Select, func, select, text

from app.core.batches import in_batches
from app.core.ids import new_id
from app.domain.chunk_changes import ChunkChanges, embedded_text
from app.domain.documents import Passage, Piece
from app.domain.kinds import Kind
from app.models import Chunk, Document
from app.repositories.base import Repository
from app.repositories.changes import note_change
from app.repositories.passages import passage_of

ROWS_AT_ONCE = 500
_INSERT = text(
    """
    INSERT INTO chunks (id, workspace_id, base_id, document_id, ordinal, title, heading, text, page, span_start,
                        span_end, content_hash, language)
    SELECT c.id, :workspace_id, :base_id, :document_id, c.ordinal, :title, c.heading, c.text, c.page, c.span_start,
           c.span_end, c.content_hash, CAST(:language AS regconfig)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:ordinals AS int[]), CAST(:headings AS text[]), CAST(:texts AS text[]),
                CAST(:pages AS int[]), CAST(:starts AS int[]), CAST(:ends AS int[]), CAST(:hashes AS bytea[]))
         AS c(id, ordinal, heading, text, page, span_start, span_end, content_hash)
    """
)
_MOVE = text(
    """
    UPDATE chunks SET ordinal = c.ordinal, page = c.page, span_start = c.span_start, span_end = c.span_end,
                      language = CAST(:language AS regconfig)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:ordinals AS int[]), CAST(:pages AS int[]), CAST(:starts AS int[]),
                CAST(:ends AS int[])) AS c(id, ordinal, page, span_start, span_end)
    WHERE chunks.id = c.id AND chunks.workspace_id = :workspace_id
      AND (chunks.ordinal, chunks.page, chunks.span_start, chunks.span_end, chunks.language)
          IS DISTINCT FROM (c.ordinal, c.page, c.span_start, c.span_end, CAST(:language AS regconfig))
    """
)
_DELETE = text("DELETE FROM chunks WHERE workspace_id = :workspace_id AND id = ANY(CAST(:ids AS uuid[]))")


class ChunkRepository(Repository):
    """The workspace's chunks, as they are written."""

    async def list_hashes(self, document_id: UUID) -> list[tuple[UUID, bytes]]:
        """Each chunk's id and hash, in their order."""
        query = (
            select(Chunk.id, Chunk.content_hash)
            .where(Chunk.workspace_id == self._workspace_id, Chunk.document_id == document_id)
            .order_by(Chunk.ordinal, Chunk.id)
        )
        return [(row.id, row.content_hash) for row in await self._session.execute(query)]

    async def change(
        self,
        document: Document,
        title: str,
        pieces: Sequence[Piece],
        hashes: Sequence[bytes],
        changes: ChunkChanges,
        language: str,
    ) -> list[tuple[UUID, int]]:
        """Make the document's chunks what its pieces are; `language` is PostgreSQL's name of one.

        The chunks that are new, each with the place of its piece.
        """
        note_change(self._session, Kind.PASSAGES)
        scope = {"workspace_id": self._workspace_id, "language": language}
        for gone in in_batches(changes.gone, ROWS_AT_ONCE):
            await self._session.execute(_DELETE, {"workspace_id": self._workspace_id, "ids": list(gone)})
        for kept in in_batches(changes.kept, ROWS_AT_ONCE):
            await self._session.execute(_MOVE, scope | _moved(kept, pieces))
        owner = {"base_id": document.base_id, "document_id": document.id, "title": title}
        new = [(new_id(), place) for place in changes.added]
        for added in in_batches(new, ROWS_AT_ONCE):
            values = {
                **_moved(added, pieces),
                "headings": [pieces[place].heading for _, place in added],
                "texts": [pieces[place].text for _, place in added],
                "hashes": [hashes[place] for _, place in added],
            }
            await self._session.execute(_INSERT, scope | owner | values)
        return new

    async def list_ids(self, document_id: UUID) -> list[UUID]:
        """In their order."""
        return [chunk_id for chunk_id, _ in await self.list_hashes(document_id)]

    async def list_from(self, document_id: UUID, ordinal: int, limit: int) -> list[Passage]:
        """The document's chunks in their order, from the one of that ordinal on."""
        return await self._passages(self._of(document_id).where(Chunk.ordinal >= ordinal).limit(limit))

    async def list_at(self, document_id: UUID, ordinals: Sequence[int]) -> list[Passage]:
        """Those of the document's chunks, in their order."""
        return await self._passages(self._of(document_id).where(Chunk.ordinal.in_(ordinals)))

    def _of(self, document_id: UUID) -> Select[Chunk]:
        mine = (Chunk.workspace_id == self._workspace_id, Chunk.document_id == document_id)
        return select(Chunk).where(*mine).order_by(Chunk.ordinal, Chunk.id)

    async def _passages(self, query: Select[Chunk]) -> list[Passage]:
        return [passage_of(chunk) for chunk in await self._session.scalars(query)]

    async def list_ids_of_base(self, base_id: UUID, after: UUID | None, limit: int) -> list[tuple[UUID, UUID]]:
        """The ids of the base's chunks and of their documents, by the chunks' age, behind one of them."""
        query = (
            select(Chunk.id, Chunk.document_id)
            .where(Chunk.workspace_id == self._workspace_id, Chunk.base_id == base_id)
            .order_by(Chunk.id)
            .limit(limit)
        )
        rows = await self._session.execute(query.where(Chunk.id > after) if after else query)
        return [(row.id, row.document_id) for row in rows]

    async def count_in_base(self, base_id: UUID) -> int:
        query = select(func.count()).where(Chunk.workspace_id == self._workspace_id, Chunk.base_id == base_id)
        return await self._session.scalar(query) or 0

    async def find_embedded_texts(self, chunk_ids: Sequence[UUID]) -> dict[UUID, tuple[UUID, str]]:
        """What the chunks are embedded as, with their documents; without those that are gone."""
        query = select(Chunk.id, Chunk.document_id, Chunk.title, Chunk.heading, Chunk.text).where(
            Chunk.workspace_id == self._workspace_id, Chunk.id.in_(chunk_ids)
        )
        rows = await self._session.execute(query)
        return {row.id: (row.document_id, embedded_text(row.title, row.heading, row.text)) for row in rows}

    async def delete_some_of_base(self, base_id: UUID, limit: int) -> int:
        """Delete some of the base's chunks, with their vectors; how many."""
        some = select(Chunk.id).where(Chunk.workspace_id == self._workspace_id, Chunk.base_id == base_id).limit(limit)
        ids = list(await self._session.scalars(some))
        if ids:
            await self._session.execute(_DELETE, {"workspace_id": self._workspace_id, "ids": ids})
        return len(ids)


def _moved(places: Sequence[tuple[UUID, int]], pieces: Sequence[Piece]) -> dict[str, list[object]]:
    found = [pieces[place] for _, place in places]
    return {
        "ids": [chunk_id for chunk_id, _ in places],
        "ordinals": [place for _, place in places],
        "pages": [piece.page for piece in found],
        "starts": [piece.span[0] for piece in found],
        "ends": [piece.span[1] for piece in found],
    }
