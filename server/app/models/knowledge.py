"""Knowledge bases, their documents, and what documents are cut into to be found again."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Computed,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    Text,
    UniqueConstraint,
    func,
    literal_column,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import JSONB, REGCONFIG, TSVECTOR
from sqlalchemy.orm import Mapped, deferred, mapped_column

from app.models.base import Base, Identified, Owned, Timestamped

INDEXED_DIMENSIONS = (64, 128, 256, 384, 512, 768, 1024, 1536, 3072)
"""Lengths of vectors that have an index; those of another length are compared one by one."""


class KnowledgeBase(Identified, Timestamped, Owned, Base):
    """A named collection of documents.

    `embedding_model` is the one whose vectors are searched. While the base changes to another, that is
    `next_embedding_model`, `embedding_progress` (0 to 1) says how far it is, and the old vectors serve; vectors of
    `retired_embedding_models` are still to be removed. `model` fills summaries and extractions; null: the
    installation's. A base with `deleted_at` is gone for everybody; a job takes away what is in it.
    """

    __tablename__ = "knowledge_bases"
    __table_args__ = (UniqueConstraint("workspace_id", "name"),)

    name: Mapped[str]
    description: Mapped[str | None]
    embedding_model: Mapped[str] = mapped_column(server_default=sql("'local/wordllama-256'"))
    next_embedding_model: Mapped[str | None]
    embedding_progress: Mapped[float | None]
    embedding_error: Mapped[str | None]
    retired_embedding_models: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=sql("'{}'"))
    deleted_at: Mapped[datetime | None]
    model: Mapped[str | None]
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))


class Document(Identified, Timestamped, Owned, Base):
    """A document and its text, whole.

    `source` is `text`, `file` or `url`; `content_hash` is the SHA-256 of what came, `original_id` where that is kept.
    `generation` counts the contents it has had: what was worked out for another one is not written. The original and
    the chunks that are there belong to `original_generation` and `cut_generation`; `begun` counts how often work on the
    present content was begun since it last came further, since one that ends its worker must not do so for ever.
    `page_starts` are
    the places in `text`, in code points, where its pages begin. `enrichment` is `none`, `queued`, `ready` or `failed`.
    """

    __tablename__ = "documents"
    __table_args__ = (
        Index("ix_documents_base_id_id", "base_id", "id"),
        Index(
            "uq_documents_base_id_content_hash",
            "base_id",
            "content_hash",
            unique=True,
            postgresql_where=sql("content_hash IS NOT NULL"),
        ),
        Index("ix_documents_unfinished", "updated_at", postgresql_where=sql("status IN ('queued', 'processing')")),
    )

    base_id: Mapped[UUID] = mapped_column(ForeignKey("knowledge_bases.id", ondelete="CASCADE"))
    title: Mapped[str]
    text: Mapped[str]
    media_type: Mapped[str]
    size_bytes: Mapped[int]
    status: Mapped[str]
    progress: Mapped[float]
    error: Mapped[str | None]
    error_code: Mapped[str | None]
    source: Mapped[str] = mapped_column(server_default=sql("'text'"))
    url: Mapped[str | None]
    file_name: Mapped[str | None]
    content_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    original_id: Mapped[UUID | None]
    generation: Mapped[int] = mapped_column(server_default=sql("1"))
    original_generation: Mapped[int] = mapped_column(server_default=sql("0"))
    cut_generation: Mapped[int] = mapped_column(server_default=sql("0"))
    begun: Mapped[int] = mapped_column(server_default=sql("0"))
    page_starts: Mapped[list[int] | None] = mapped_column(ARRAY(Integer))
    language: Mapped[str | None]
    chunk_count: Mapped[int] = mapped_column(server_default=sql("0"))
    embedded_count: Mapped[int] = mapped_column(server_default=sql("0"))
    enrichment: Mapped[str] = mapped_column(server_default=sql("'none'"))
    summary: Mapped[str | None]
    keywords: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    entities: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))
    enriched_by: Mapped[str | None]
    ingested_at: Mapped[datetime | None]
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))


class Chunk(Identified, Owned, Base):
    """A piece of a document that can be found: `span_start` to `span_end` of its text, in code points.

    `title` is the document's, which is searched with each of its pieces; `heading` is the path of headings it stands
    under, `page` the page on which it begins, counted from 1. `tsv` also holds the ids of where it belongs, each with a
    blank before it as no word has: so the index itself keeps to a workspace, some bases or some documents.
    """

    __tablename__ = "chunks"
    __table_args__ = (
        Index("ix_chunks_document_id_ordinal", "document_id", "ordinal"),
        Index("ix_chunks_scope", "workspace_id", "base_id", "language", "content_hash"),
        Index("ix_chunks_base_id", "base_id"),
        Index("ix_chunks_tsv", "tsv", postgresql_using="gin"),
    )

    base_id: Mapped[UUID] = mapped_column(ForeignKey("knowledge_bases.id", ondelete="CASCADE"))
    document_id: Mapped[UUID] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"))
    ordinal: Mapped[int]
    title: Mapped[str] = mapped_column(server_default=sql("''"))
    heading: Mapped[str | None]
    text: Mapped[str]
    page: Mapped[int | None]
    span_start: Mapped[int]
    span_end: Mapped[int]
    content_hash: Mapped[bytes] = mapped_column(LargeBinary)
    language: Mapped[str] = mapped_column(REGCONFIG)
    tsv: Mapped[Any] = deferred(
        mapped_column(
            TSVECTOR,
            Computed(
                "setweight(to_tsvector(language, arena_fold(title || ' > ' || coalesce(heading, ''))), 'A')"
                " || to_tsvector(language, arena_fold(text))"
                " || array_to_tsvector("
                "ARRAY[' ' || workspace_id::text, ' ' || base_id::text, ' ' || document_id::text])",
                persisted=True,
            ),
            nullable=False,
        )
    )


def _hnsw(dimensions: int) -> Index:
    return Index(
        f"ix_chunk_embeddings_hnsw_{dimensions}",
        # nosemgrep: sql-is-not-put-together - the number is one of ours
        literal_column(f"(embedding::halfvec({dimensions}))").label("vector"),
        postgresql_using="hnsw",
        postgresql_ops={"vector": "halfvec_cosine_ops"},
        postgresql_with={"m": 12, "ef_construction": 64},
        # nosemgrep: sql-is-not-put-together - the number is one of ours
        postgresql_where=sql(f"dimensions = {dimensions}"),
    )


class ChunkEmbedding(Owned, Base):
    """A chunk as a vector of one embedding model, of length 1."""

    __tablename__ = "chunk_embeddings"
    __table_args__ = (
        Index("ix_chunk_embeddings_workspace_id_base_id", "workspace_id", "base_id"),
        Index("ix_chunk_embeddings_document_id", "document_id"),
        *map(_hnsw, INDEXED_DIMENSIONS),
    )

    chunk_id: Mapped[UUID] = mapped_column(ForeignKey("chunks.id", ondelete="CASCADE"), primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    base_id: Mapped[UUID]
    document_id: Mapped[UUID]
    dimensions: Mapped[int]
    embedding: Mapped[Any] = mapped_column(HALFVEC)


class OriginalPart(Owned, Base):
    """A part of what a document was made of, where originals are kept in the database."""

    __tablename__ = "original_parts"
    __table_args__ = (Index("ix_original_parts_workspace_id", "workspace_id"),)

    original_id: Mapped[UUID] = mapped_column(primary_key=True)
    part: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class LooseOriginal(Owned, Base):
    """An original that is being written, of a document that is not there yet: left over if it stays so."""

    __tablename__ = "loose_originals"
    __table_args__ = (
        Index("ix_loose_originals_since", "since"),
        Index("ix_loose_originals_workspace_id", "workspace_id"),
    )

    original_id: Mapped[UUID] = mapped_column(primary_key=True)
    since: Mapped[datetime] = mapped_column(server_default=func.now())


class Extraction(Identified, Timestamped, Owned, Base):
    """A caller's JSON Schema, filled from a document.

    `partial` is what each part of the document gave that the model was shown, so that a crash costs one call:
    `chunks_seen` of its `chunk_count` chunks were shown, and `chunks_read` of these got a useful answer. `begun` counts
    how often work was begun since the last part. `sources` tells of each field, by its JSON Pointer, where in the
    document it came from. `status` is `queued`, `processing`, `ready`, `incomplete` (the result does not fit the
    schema, or not all was read), or `failed`.
    """

    __tablename__ = "extractions"
    __table_args__ = (Index("ix_extractions_document_id_id", "document_id", "id"),)

    document_id: Mapped[UUID] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"))
    generation: Mapped[int]
    schema: Mapped[Any] = mapped_column(JSONB)
    instructions: Mapped[str | None]
    model: Mapped[str]
    status: Mapped[str]
    begun: Mapped[int] = mapped_column(server_default=sql("0"))
    chunk_count: Mapped[int]
    chunks_seen: Mapped[int] = mapped_column(server_default=sql("0"))
    chunks_read: Mapped[int] = mapped_column(server_default=sql("0"))
    partial: Mapped[Any] = mapped_column(JSONB, server_default=sql("'[]'"))
    result: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    sources: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    missing: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    unsupported: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    faults: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    error: Mapped[str | None]
    error_code: Mapped[str | None]
    prompt_tokens: Mapped[int] = mapped_column(BigInteger, server_default=sql("0"))
    completion_tokens: Mapped[int] = mapped_column(BigInteger, server_default=sql("0"))
    cost_usd: Mapped[Decimal] = mapped_column(Numeric(16, 8), server_default=sql("0"))
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
