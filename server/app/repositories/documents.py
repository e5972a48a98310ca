"""Documents while they are taken in: every write carries the content's generation, and is nothing for an older one."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select, text

from app.domain.kinds import Kind
from app.models import Document, KnowledgeBase
from app.repositories.base import Repository
from app.repositories.changes import note_change

_BEGIN = text(
    """
    UPDATE documents d SET status = 'processing', begun = d.begun + 1, updated_at = now()
    FROM knowledge_bases b
    WHERE d.workspace_id = :workspace_id AND d.id = :id AND d.status IN ('queued', 'processing')
      AND b.id = d.base_id AND b.deleted_at IS NULL
    RETURNING d.id, d.base_id, d.generation, d.source, d.url, d.file_name, d.media_type, d.title, d.original_id,
              d.original_generation = d.generation AS has_original, d.cut_generation = d.generation AS is_cut,
              d.begun, d.progress, d.chunk_count
    """
)
_MINE = "workspace_id = :workspace_id AND id = :id AND generation = :generation AND status = 'processing'"
# nosemgrep: sql-is-not-put-together - of constants of this module
_ADVANCE = text(
    f"""
    UPDATE documents SET progress = greatest(progress, :progress), embedded_count = :embedded, updated_at = now(),
        begun = CASE WHEN :progress > progress THEN 0 ELSE begun END
    WHERE {_MINE} RETURNING id
    """  # noqa: S608 - made of our own words alone
)
# nosemgrep: sql-is-not-put-together - of constants of this module
_TAKE_BACK = text(
    f"UPDATE documents SET begun = greatest(begun - 1, 0), updated_at = now() WHERE {_MINE} RETURNING id"  # noqa: S608 - the same
)
# nosemgrep: sql-is-not-put-together - of constants of this module
_FINISH = text(
    f"""
    UPDATE documents SET status = 'ready', progress = 1, error = NULL, error_code = NULL,
        embedded_count = chunk_count, ingested_at = now(), updated_at = now(), enrichment = :enrichment
    WHERE {_MINE} RETURNING id
    """  # noqa: S608 - the same
)
# nosemgrep: sql-is-not-put-together - of constants of this module
_FAIL = text(
    f"""
    UPDATE documents SET status = 'failed', error = :error, error_code = :code, updated_at = now()
    WHERE {_MINE} RETURNING id
    """  # noqa: S608 - the same
)


@dataclass(frozen=True, slots=True)
class Begun:
    """A document in hand, as it was when work on it was begun."""

    workspace_id: UUID
    id: UUID
    base_id: UUID
    generation: int
    source: str
    url: str | None
    file_name: str | None
    media_type: str
    title: str
    original_id: UUID | None
    has_original: bool
    is_cut: bool
    begun: int
    progress: float
    chunk_count: int


@dataclass(frozen=True, slots=True)
class Models:
    """The embedding models whose vectors a base is to have."""

    current: str
    next: str | None
    retired: Sequence[str]

    @property
    def wanted(self) -> list[str]:
        return [self.current] if self.next is None else [self.current, self.next]


class DocumentRepository(Repository):
    """The workspace's documents, for who takes them in."""

    async def begin(self, document_id: UUID) -> Begun | None:
        """None if there is nothing to do, since it is gone or finished."""
        note_change(self._session, Kind.DOCUMENTS)
        row = (
            await self._session.execute(_BEGIN, {"workspace_id": self._workspace_id, "id": document_id})
        ).one_or_none()
        return None if row is None else Begun(self._workspace_id, *row)

    async def find_text(self, document_id: UUID) -> str | None:
        query = select(Document.text).where(Document.workspace_id == self._workspace_id, Document.id == document_id)
        found: str | None = await self._session.scalar(query)
        return found

    async def lock(self, begun: Begun) -> Document | None:
        """The document's row, if the content is still the same and being worked on."""
        query = select(Document).where(
            Document.workspace_id == self._workspace_id,
            Document.id == begun.id,
            Document.generation == begun.generation,
            Document.status == "processing",
        )
        found: Document | None = await self._session.scalar(query.with_for_update())
        return found

    async def advance(self, begun: Begun, progress: float, embedded: int = 0) -> bool:
        """Tell how far it is, never less than before; False if the work is nobody's any more.

        How often it was begun is counted anew from each progress.
        """
        return await self._write(_ADVANCE, begun, progress=progress, embedded=embedded)

    async def take_back(self, begun: Begun) -> None:
        """Let this beginning not count."""
        await self._write(_TAKE_BACK, begun)

    async def finish(self, begun: Begun, *, is_to_be_enriched: bool) -> bool:
        return await self._write(_FINISH, begun, enrichment="queued" if is_to_be_enriched else "none")

    async def fail(self, begun: Begun, error: str, code: str) -> bool:
        return await self._write(_FAIL, begun, error=error, code=code)

    def note_forgotten(self) -> None:
        """Vectors that stood in the way of others are gone, wherever they were."""
        note_change(self._session, Kind.PASSAGES)

    async def models_of(self, base_id: UUID, *, keep: bool = False) -> Models | None:
        """What the base is embedded by; with `keep` it stays so until the transaction ends. None: it is gone."""
        query = select(
            KnowledgeBase.embedding_model, KnowledgeBase.next_embedding_model, KnowledgeBase.retired_embedding_models
        ).where(
            KnowledgeBase.workspace_id == self._workspace_id,
            KnowledgeBase.id == base_id,
            KnowledgeBase.deleted_at.is_(None),
        )
        row = (await self._session.execute(query.with_for_update(read=True) if keep else query)).one_or_none()
        return None if row is None else Models(*row)

    async def _write(self, statement: object, begun: Begun, **values: object) -> bool:
        # A search finds what is ready, and what is embedded of it.
        note_change(self._session, Kind.DOCUMENTS, Kind.PASSAGES)
        scope = {"workspace_id": self._workspace_id, "id": begun.id, "generation": begun.generation}
        result = await self._session.execute(statement, scope | values)  # type: ignore[call-overload]
        return result.first() is not None
