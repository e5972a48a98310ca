"""Extractions. What work on one writes holds only while the document has the content that it began with."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Row, delete, select, text
from sqlalchemy.orm import load_only

from app.core.errors import NotFound
from app.domain.usage import Took
from app.models import Document, Extraction, KnowledgeBase
from app.repositories.base import Repository

_UNREAD = {"partial", "result", "sources", "schema"}
_IN_LISTS = [getattr(Extraction, column.key) for column in Extraction.__table__.columns if column.key not in _UNREAD]
_IN_FULL = [getattr(Extraction, column.key) for column in Extraction.__table__.columns if column.key != "partial"]
_BEGIN = text(
    """
    UPDATE extractions SET status = 'processing', begun = begun + 1, updated_at = now()
    WHERE workspace_id = :workspace_id AND id = :id AND status IN ('queued', 'processing')
    RETURNING begun
    """
)
_LOOK = text(
    """
    SELECT e.id, e.document_id, e.schema, e.instructions, e.model, e.chunk_count, e.chunks_seen, e.created_by, d.title,
           d.page_starts, jsonb_array_length(e.partial) AS parts,
           d.generation = e.generation AND d.cut_generation = e.generation AS is_current
    FROM extractions e JOIN documents d ON d.id = e.document_id AND d.workspace_id = e.workspace_id
    WHERE e.workspace_id = :workspace_id AND e.id = :id AND e.status = 'processing'
    """
)
_MINE = "workspace_id = :workspace_id AND id = :id AND status = 'processing' AND chunks_seen = :known"
# nosemgrep: sql-is-not-put-together - of constants of this module
_ADD_PART = text(
    f"""
    UPDATE extractions e SET partial = partial || CAST(:part AS jsonb), chunks_seen = :seen,
        chunks_read = chunks_read + :read, begun = 0, prompt_tokens = prompt_tokens + :prompt_tokens,
        completion_tokens = completion_tokens + :completion_tokens, cost_usd = cost_usd + :cost_usd, updated_at = now()
    WHERE {_MINE} AND EXISTS (SELECT 1 FROM documents d WHERE d.id = e.document_id AND d.generation = e.generation)
    RETURNING e.id
    """  # noqa: S608 - made of our own words alone
)
# nosemgrep: sql-is-not-put-together - of constants of this module
_FINISH = text(
    f"""
    UPDATE extractions SET status = :status, result = CAST(:result AS jsonb), sources = CAST(:sources AS jsonb),
        missing = :missing, unsupported = :unsupported, faults = :faults, partial = '[]', updated_at = now()
    WHERE {_MINE} RETURNING id
    """  # noqa: S608 - the same
)
_FAIL = text(
    """
    UPDATE extractions SET status = 'failed', error = :error, error_code = :code, partial = '[]', updated_at = now()
    WHERE workspace_id = :workspace_id AND id = :id AND status = 'processing' RETURNING id
    """
)
_NOTE_USED = text(
    """
    UPDATE extractions SET prompt_tokens = prompt_tokens + :prompt_tokens,
        completion_tokens = completion_tokens + :completion_tokens, cost_usd = cost_usd + :cost_usd
    WHERE workspace_id = :workspace_id AND id = :id
    """
)


@dataclass(frozen=True, slots=True)
class Underway:
    """An extraction in hand: `chunks_seen` of its document's `chunk_count` chunks were shown, in `parts` calls."""

    id: UUID
    document_id: UUID
    schema: dict[str, Any]
    instructions: str | None
    model: str
    chunk_count: int
    chunks_seen: int
    created_by: UUID | None
    title: str
    page_starts: list[int] | None
    parts: int
    is_current: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an extraction comes to; `status` is `ready` or `incomplete`."""

    status: str
    result: dict[str, Any]
    sources: dict[str, Any]
    missing: list[str]
    unsupported: list[str]
    faults: list[str]


class ExtractionRepository(Repository):
    """The workspace's extractions. Those of a base that is being deleted are not there."""

    async def add(self, extraction: Extraction) -> None:
        self._session.add(extraction)
        await self._session.flush()

    async def get(self, extraction_id: UUID) -> Extraction:
        """Without what is kept for the work on it."""
        query = self._query().options(load_only(*_IN_FULL)).where(Extraction.id == extraction_id)
        found: Extraction | None = await self._session.scalar(query)
        if found is None:
            raise NotFound("there is no such extraction")
        return found

    async def list_of(self, document_id: UUID, limit: int, cursor: str | None) -> tuple[list[Extraction], str | None]:
        """Newest first, without schemas and results, which may be long."""
        query = self._query().options(load_only(*_IN_LISTS)).where(Extraction.document_id == document_id)
        return await self._page(query, Extraction.id, limit, cursor)

    async def delete(self, extraction_id: UUID) -> None:
        await self._session.execute(
            delete(Extraction).where(Extraction.workspace_id == self._workspace_id, Extraction.id == extraction_id)
        )

    async def begin(self, extraction_id: UUID) -> int | None:
        """How often work on it was begun, this time included; None: there is nothing to do."""
        begun: int | None = (await self._session.execute(_BEGIN, self._of(extraction_id))).scalar_one_or_none()
        return begun

    async def find_underway(self, extraction_id: UUID) -> Underway | None:
        """None: it is gone, or was ended."""
        row = (await self._session.execute(_LOOK, self._of(extraction_id))).one_or_none()
        return None if row is None else Underway(*row)

    async def list_parts(self, extraction_id: UUID) -> list[Any]:
        """What the parts gave, in their order; null for one of which the model made nothing of use."""
        query = select(Extraction.partial).where(
            Extraction.workspace_id == self._workspace_id, Extraction.id == extraction_id
        )
        return await self._session.scalar(query) or []

    async def add_part(self, one: Underway, seen: int, part: dict[str, Any] | None, took: Took) -> bool:
        """Write what the chunks up to `seen` gave; False if another was first, or it is nobody's work any more.

        How often it was begun is counted anew from there.
        """
        values = {
            "known": one.chunks_seen,
            "seen": seen,
            "read": seen - one.chunks_seen if part is not None else 0,
            "part": orjson.dumps([part]).decode(),
        }
        return await self._write(_ADD_PART, one.id, values | _used(took))

    async def finish(self, one: Underway, outcome: Outcome) -> bool:
        values = {
            "known": one.chunks_seen,
            "status": outcome.status,
            "result": orjson.dumps(outcome.result).decode(),
            "sources": orjson.dumps(outcome.sources).decode(),
            "missing": outcome.missing,
            "unsupported": outcome.unsupported,
            "faults": outcome.faults,
        }
        return await self._write(_FINISH, one.id, values)

    async def fail(self, extraction_id: UUID, error: str, code: str) -> bool:
        return await self._write(_FAIL, extraction_id, {"error": error, "code": code})

    async def note_used(self, extraction_id: UUID, took: Took) -> None:
        """Add what a call took that came to nothing."""
        await self._session.execute(_NOTE_USED, self._of(extraction_id) | _used(took))

    def _query(self) -> Any:
        here = (
            select(Document.id)
            .join(KnowledgeBase, KnowledgeBase.id == Document.base_id)
            .where(Document.id == Extraction.document_id, KnowledgeBase.deleted_at.is_(None))
        )
        return select(Extraction).where(Extraction.workspace_id == self._workspace_id, here.exists())

    def _of(self, extraction_id: UUID) -> dict[str, Any]:
        return {"workspace_id": self._workspace_id, "id": extraction_id}

    async def _write(self, statement: Any, extraction_id: UUID, values: dict[str, Any]) -> bool:
        row: Row[Any] | None = (await self._session.execute(statement, self._of(extraction_id) | values)).first()
        return row is not None


def _used(took: Took) -> dict[str, Any]:
    return {
        "prompt_tokens": took.prompt_tokens,
        "completion_tokens": took.completion_tokens,
        "cost_usd": took.cost_usd,
    }
