"""Chunks as they are read: by the words in them, and in full."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from app.core.cursors import decode_numbers, encode_cursor
from app.domain.documents import Passage
from app.domain.search_query import SearchQuery
from app.models import Chunk
from app.repositories.base import Repository

COUNTED = 5_000
"""Up to so many chunks are counted; of more, a part is."""
SAMPLED = 1_500
BASES_IN_INDEX = 32
"""Of more bases than that, the index keeps to the workspace, and each hit is looked at for its base."""
# Steps from one language of a base to its next one, each a look into the index.
_IN_EACH_LANGUAGE = """
    WITH RECURSIVE spoken (base_id, language) AS (
        SELECT b.id, (SELECT min(language::oid) FROM chunks
                      WHERE workspace_id = :workspace_id AND base_id = b.id)
        FROM unnest(CAST(:base_ids AS uuid[])) AS b (id)
        UNION ALL
        SELECT s.base_id, (SELECT min(language::oid) FROM chunks
                           WHERE workspace_id = :workspace_id AND base_id = s.base_id AND language::oid > s.language)
        FROM spoken s WHERE s.language IS NOT NULL
    ),
    languages AS (SELECT DISTINCT CAST(language AS regconfig) AS name FROM spoken WHERE language IS NOT NULL)
    SELECT name::text AS language,
           ARRAY(SELECT lexeme FROM unnest(to_tsvector(name, arena_fold(:words)))
                 ORDER BY positions[1] LIMIT 200) AS lexemes,
           ARRAY(SELECT q::text FROM unnest(CAST(:phrases AS text[])) p,
                 LATERAL phraseto_tsquery(name, arena_fold(p)) q WHERE numnode(q) > 0) AS phrases,
           ARRAY(SELECT q::text FROM unnest(CAST(:excluded AS text[])) p,
                 LATERAL phraseto_tsquery(name, arena_fold(p)) q WHERE numnode(q) > 0) AS excluded,
           (SELECT count(*) FROM (SELECT FROM chunks WHERE workspace_id = :workspace_id AND base_id = ANY(:base_ids)
                                  AND language = languages.name {documents} LIMIT {bound}) bounded) AS chunks
    FROM languages
"""
# nosemgrep: sql-is-not-put-together - of constants of this module
_TERMS = text(_IN_EACH_LANGUAGE.format(documents="", bound=COUNTED + 1))
# nosemgrep: sql-is-not-put-together - of constants of this module
_TERMS_OF_DOCUMENTS = text(
    _IN_EACH_LANGUAGE.format(documents="AND document_id = ANY(:document_ids)", bound=COUNTED + 1)
)
_SCOPE = "workspace_id = :workspace_id AND base_id = ANY(:base_ids) AND language = CAST(:language AS regconfig)"
# nosemgrep: sql-is-not-put-together - of constants of this module
_COUNT_PART = text(
    f"SELECT count(*) FROM (SELECT FROM chunks WHERE {_SCOPE} AND content_hash < :below"  # noqa: S608 - ours
    f" LIMIT {SAMPLED + 1}) bounded"
)
_WORDS_OF_PART = text(
    "SELECT lexeme, count(*) AS chunks FROM chunks, unnest(tsv)"  # noqa: S608 - ours
    f" WHERE {_SCOPE} AND content_hash < :below AND lexeme NOT LIKE ' %' GROUP BY 1 HAVING count(*) > 2"
)
_FIND = text(
    "SELECT id, score FROM arena_keyword_search(CAST(:scope AS tsquery), CAST(:language AS regconfig), :base_ids,"
    " CAST(CAST(:terms AS text[]) AS tsquery[]), CAST(:weights AS float8[]), :leading, :total, :most)"
)
_CHUNKS = """
    SELECT c.id, c.ordinal, c.document_id, c.base_id, d.title, c.text, c.span_start, c.span_end, c.page, c.heading
    FROM chunks c JOIN documents d ON d.id = c.document_id AND d.workspace_id = c.workspace_id
    WHERE c.workspace_id = :workspace_id"""
_READ = _CHUNKS + " AND c.id = ANY(:ids) AND c.base_id = ANY(:base_ids)"
# nosemgrep: sql-is-not-put-together - of constants of this module
_LIST = text(_CHUNKS + " AND c.document_id = :document_id AND c.ordinal > :after ORDER BY c.ordinal, c.id LIMIT :limit")
_LEXEMES = text(
    "SELECT word, tsvector_to_array(to_tsvector(CAST(:language AS regconfig), arena_fold(word))) AS lexemes"
    " FROM unnest(CAST(:words AS text[])) AS word"
)
_LISTED = "chunks"


@dataclass(frozen=True, slots=True)
class Terms:
    """A query's words as chunks of one language have them, and tsqueries of what must be there and must not.

    `chunks`: how many there are in the language, at most `COUNTED` + 1.
    """

    language: str
    lexemes: Sequence[str]
    phrases: Sequence[str]
    excluded: Sequence[str]
    chunks: int

    @property
    def conditions(self) -> list[str]:
        return [*(f"({phrase})" for phrase in self.phrases), *(f"!({word})" for word in self.excluded)]


@dataclass(frozen=True, slots=True)
class Weighed:
    """tsqueries and what each counts; None: by how many chunks have it, which only one of the `leading` first may say.

    The leading ones say which chunks come into question at all; `total` is how many chunks there are.
    """

    terms: Sequence[str]
    weights: Sequence[float | None]
    leading: int
    total: float


@dataclass(frozen=True, slots=True)
class Sample:
    """How many of some `sampled` chunks, out of about `total`, have each word; words of one or two are left out."""

    sampled: int
    total: float
    chunks_with: Mapping[str, int]


class PassageRepository(Repository):
    """The workspace's chunks, as they are searched."""

    async def read_terms(
        self, base_ids: Collection[UUID], document_ids: Collection[UUID], query: SearchQuery
    ) -> list[Terms]:
        """What the query is in each language that the bases hold."""
        values: dict[str, Any] = {
            "workspace_id": self._workspace_id,
            "base_ids": list(base_ids),
            "words": query.words,
            "phrases": list(query.phrases),
            "excluded": list(query.excluded),
        }
        if document_ids:
            values["document_ids"] = list(document_ids)
        rows = await self._session.execute(_TERMS_OF_DOCUMENTS if document_ids else _TERMS, values)
        return [Terms(row.language, row.lexemes, row.phrases, row.excluded, row.chunks) for row in rows]

    async def sample(self, base_ids: Collection[UUID], language: str) -> Sample:
        """Count words in a part that is chosen by the chunks' hashes, and so by chance."""
        share, counted, below = 1.0, SAMPLED + 1, b""
        while counted > SAMPLED:
            share /= 4
            below = int(share * 2**64).to_bytes(8)
            values = self._scope(base_ids, language) | {"below": below}
            counted = int(await self._session.scalar(_COUNT_PART, values) or 0)
        rows = await self._session.execute(_WORDS_OF_PART, self._scope(base_ids, language) | {"below": below})
        return Sample(counted, counted / share, {row.lexeme: row.chunks for row in rows})

    def _scope(self, base_ids: Collection[UUID], language: str) -> dict[str, Any]:
        return {"workspace_id": self._workspace_id, "base_ids": list(base_ids), "language": language}

    async def find(
        self, base_ids: Collection[UUID], document_ids: Collection[UUID], terms: Terms, weighed: Weighed, most: int
    ) -> list[tuple[UUID, float]]:
        """(chunk, score) of the best by their words, best first."""
        values = {
            "scope": " & ".join([self._ids_in_index(base_ids, document_ids), *terms.conditions]),
            "language": terms.language,
            "base_ids": list(base_ids),
            "terms": list(weighed.terms),
            "weights": list(weighed.weights),
            "leading": weighed.leading,
            "total": weighed.total,
            "most": most,
        }
        return [(row.id, float(row.score)) for row in await self._session.execute(_FIND, values)]

    def _ids_in_index(self, base_ids: Collection[UUID], document_ids: Collection[UUID]) -> str:
        ids = document_ids or (base_ids if len(base_ids) <= BASES_IN_INDEX else [self._workspace_id])
        return "(" + " | ".join(f"' {each}'" for each in ids) + ")"

    async def read(
        self,
        ids: Collection[UUID],
        base_ids: Collection[UUID],
        document_ids: Collection[UUID],
        conditions: Mapping[str, Sequence[str]],
    ) -> dict[UUID, Passage]:
        """Those of the ids that are there, belong to the bases and documents, and meet their language's conditions."""
        statement = _READ + (" AND c.document_id = ANY(:document_ids)" if document_ids else "")
        values: dict[str, Any] = {
            "workspace_id": self._workspace_id,
            "ids": list(ids),
            "base_ids": list(base_ids),
            "document_ids": list(document_ids),
        }
        for n, (language, wanted) in enumerate(conditions.items()):
            statement += (
                f" AND (c.language <> CAST(:language_{n} AS regconfig) OR c.tsv @@ CAST(:wanted_{n} AS tsquery))"
            )
            values |= {f"language_{n}": language, f"wanted_{n}": " & ".join(wanted)}
        if not document_ids:
            del values["document_ids"]
        return {row.id: passage_of(row) for row in await self._session.execute(text(statement), values)}

    async def read_lexemes(self, language: str, words: Collection[str]) -> dict[str, frozenset[str]]:
        """What each of the words is in the language; of some nothing, since they are too frequent to be looked for."""
        rows = await self._session.execute(_LEXEMES, {"language": language, "words": list(words)})
        return {row.word: frozenset(row.lexemes) for row in rows}

    async def list_of(self, document_id: UUID, limit: int, cursor: str | None) -> tuple[list[Passage], str | None]:
        """The document's chunks in their order, `limit` of them, and the cursor of the rest."""
        after = -1 if cursor is None else decode_numbers(cursor, _LISTED)[0]
        values = {
            "workspace_id": self._workspace_id,
            "document_id": document_id,
            "after": after,
            "limit": limit + 1,
        }
        rows = (await self._session.execute(_LIST, values)).all()
        following = encode_cursor(_LISTED, rows[limit - 1].ordinal) if len(rows) > limit else None
        return [passage_of(row) for row in rows[:limit]], following


def passage_of(row: Row[Any] | Chunk) -> Passage:
    """A chunk as searches and readers are given it; the score is for searches to say."""
    return Passage(
        chunk_id=row.id,
        document_id=row.document_id,
        base_id=row.base_id,
        title=row.title,
        text=row.text,
        span=(row.span_start, row.span_end),
        page=row.page,
        heading=row.heading,
        score=0.0,
    )


def lexeme_query(lexeme: str) -> str:
    """A tsquery, as text, of the one word."""
    escaped = lexeme.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
