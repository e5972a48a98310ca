"""What is told of a document at a glance, written for the content it was made of and for no other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text

from app.domain.enriching import READ_CHARACTERS, Enriched
from app.domain.kinds import Kind
from app.repositories.base import Repository
from app.repositories.changes import note_change

COUNTED_CHUNKS = 200
COMPARED_CHUNKS = 300
_FIND = text(
    """
    SELECT d.id, d.base_id, d.generation, d.title, d.source, d.file_name, d.url, d.chunk_count, d.created_by, b.model,
           left(d.text, :characters) AS text, c.heading, CAST(c.language AS text) AS language
    FROM documents d
    JOIN knowledge_bases b ON b.id = d.base_id AND b.deleted_at IS NULL
    JOIN chunks c ON c.document_id = d.id AND c.workspace_id = d.workspace_id AND c.ordinal = 0
    WHERE d.workspace_id = :workspace_id AND d.id = :id AND d.status = 'ready' AND d.enrichment = 'queued'
    LIMIT 1
    """
)
# By how often a word is in the document and how rare it is in others of the base. The ids of where a chunk belongs are
# in its words too, each behind a blank.
_STEMS = text(
    r"""
    WITH mine AS (
        SELECT w.lexeme, sum(cardinality(w.positions)) AS times
        FROM chunks c CROSS JOIN unnest(c.tsv) AS w
        WHERE c.workspace_id = :workspace_id AND c.document_id = :id AND c.ordinal < :counted
          AND w.lexeme ~ '^[[:alpha:]][^@/\\.]{2,}$'
        GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100
    ),
    others AS MATERIALIZED (
        SELECT tsv FROM chunks
        WHERE workspace_id = :workspace_id AND base_id = :base_id AND language = CAST(:language AS regconfig)
          AND document_id <> :id
        ORDER BY content_hash LIMIT :compared
    ),
    elsewhere AS (SELECT w.lexeme, count(*) AS chunks FROM others o CROSS JOIN unnest(o.tsv) AS w GROUP BY 1)
    SELECT m.lexeme FROM mine m LEFT JOIN elsewhere e USING (lexeme)
    ORDER BY m.times * ln(((SELECT count(*) FROM others) + 2.0) / (coalesce(e.chunks, 0) + 1.0)) DESC, m.lexeme
    LIMIT 30
    """
)
_STEM_OF = text(
    "SELECT word, lexeme FROM unnest(CAST(:words AS text[])) AS word"
    " CROSS JOIN unnest(tsvector_to_array(to_tsvector(CAST(:language AS regconfig), arena_fold(word)))) AS lexeme"
    " WHERE lexeme = ANY(CAST(:stems AS text[]))"
)
_WRITE = text(
    """
    UPDATE documents SET enrichment = 'ready', title = coalesce(:title, title), summary = :summary,
        keywords = :keywords, entities = CAST(:entities AS jsonb), enriched_by = :enriched_by, updated_at = now()
    WHERE workspace_id = :workspace_id AND id = :id AND generation = :generation AND status = 'ready'
      AND enrichment = 'queued'
    RETURNING id
    """
)
_RENAME_CHUNKS = text("UPDATE chunks SET title = :title WHERE workspace_id = :workspace_id AND document_id = :id")


@dataclass(frozen=True, slots=True)
class Unenriched:
    """A document that waits for it; `text` is its beginning, `heading` that of its first chunk, `model` the base's."""

    id: UUID
    base_id: UUID
    generation: int
    title: str
    source: str
    file_name: str | None
    url: str | None
    chunk_count: int
    created_by: UUID | None
    model: str | None
    text: str
    heading: str | None
    language: str


class EnrichmentRepository(Repository):
    """The workspace's documents, for who describes them."""

    async def find(self, document_id: UUID) -> Unenriched | None:
        """None: it is gone, not ready, or described already."""
        values = {"workspace_id": self._workspace_id, "id": document_id, "characters": READ_CHARACTERS}
        row = (await self._session.execute(_FIND, values)).one_or_none()
        return None if row is None else Unenriched(*row)

    async def list_stems(self, document: Unenriched) -> list[str]:
        """What tells the document from others of its base, first what does so most, as its language stems words."""
        values = {
            "workspace_id": self._workspace_id,
            "id": document.id,
            "base_id": document.base_id,
            "language": document.language,
            "counted": COUNTED_CHUNKS,
            "compared": COMPARED_CHUNKS,
        }
        return list(await self._session.scalars(_STEMS, values))

    async def find_stems(self, words: Sequence[str], language: str, stems: Sequence[str]) -> dict[str, str]:
        """Of each of the words the one of these stems that it has, if it has one."""
        values = {"words": list(words), "language": language, "stems": list(stems)}
        return {row.word: row.lexeme for row in await self._session.execute(_STEM_OF, values)}

    async def write(self, document: Unenriched, found: Enriched, by: str | None) -> bool:
        """False, and nothing written, if the document has another content, or was described meanwhile."""
        note_change(self._session, Kind.DOCUMENTS, *([Kind.PASSAGES] if found.title else []))
        scope: dict[str, Any] = {"workspace_id": self._workspace_id, "id": document.id}
        values = {
            "generation": document.generation,
            "title": found.title,
            "summary": found.summary,
            "keywords": list(found.keywords),
            "entities": orjson.dumps(list(found.entities)).decode(),
            "enriched_by": by,
        }
        if (await self._session.execute(_WRITE, scope | values)).first() is None:
            return False
        if found.title:
            await self._session.execute(_RENAME_CHUNKS, scope | {"title": found.title})
        return True
