"""Chunks as ingestion leaves them, written past the API, for tests of what finds them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from uuid import UUID, uuid4

import psycopg

_CHUNK = (
    "INSERT INTO chunks (id, workspace_id, base_id, document_id, ordinal, title, heading, text, page, span_start,"
    " span_end, content_hash, language) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


@dataclass(frozen=True)
class Written:
    """A document's chunks, in a base of a workspace."""

    workspace_id: UUID
    base_id: UUID
    document_id: UUID
    texts: Sequence[str]
    chunk_ids: list[UUID] = field(default_factory=list)

    def text_of(self, chunk_id: UUID) -> str:
        return self.texts[self.chunk_ids.index(chunk_id)]


def make_workspace(database_url: str) -> UUID:
    workspace_id = uuid4()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO workspaces (id, name) VALUES (%s, 'Tests')", [workspace_id])
    return workspace_id


def write_chunks(
    database_url: str,
    texts: Sequence[str],
    *,
    workspace_id: UUID | None = None,
    base_id: UUID | None = None,
    title: str = "Memo",
    heading: str | None = None,
    language: str = "english",
    embedding_model: str = "local/wordllama-256",
) -> Written:
    """A document of these chunks; its text is theirs, a blank line between each and the next."""
    written = Written(workspace_id or make_workspace(database_url), base_id or uuid4(), uuid4(), texts)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO knowledge_bases (id, workspace_id, name, embedding_model) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (id) DO NOTHING",
            [written.base_id, written.workspace_id, f"Base {written.base_id}", embedding_model],
        )
        whole = "\n\n".join(texts)
        connection.execute(
            "INSERT INTO documents (id, workspace_id, base_id, title, text, media_type, size_bytes, status, progress,"
            " chunk_count) VALUES (%s, %s, %s, %s, %s, 'text/plain', %s, 'ready', 1, %s)",
            [written.document_id, written.workspace_id, written.base_id, title, whole, len(whole), len(texts)],
        )
        with connection.cursor() as cursor:
            cursor.executemany(_CHUNK, list(_rows(written, title, heading, language)))
    return written


def _rows(written: Written, title: str, heading: str | None, language: str):
    start = 0
    owner = [written.workspace_id, written.base_id, written.document_id]
    for ordinal, text in enumerate(written.texts):
        written.chunk_ids.append(uuid4())
        end = start + len(text)
        hashed = sha256(text.encode()).digest()
        yield [written.chunk_ids[-1], *owner, ordinal, title, heading, text, 1, start, end, hashed, language]
        start = end + 2


Write = Callable[..., Written]
