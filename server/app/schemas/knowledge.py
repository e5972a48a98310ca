"""Wire types of knowledge bases and documents."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, StringConstraints

from app.schemas.base import Line, Moment, Read, Request, Text, storable

Description = Annotated[Text, StringConstraints(max_length=2_000)]
DocumentText = Annotated[
    str, StringConstraints(min_length=1, max_length=5_000_000, pattern=r"\S"), AfterValidator(storable)
]


class KnowledgeBaseCreate(Request):
    """A new knowledge base; its name is unique in the workspace."""

    name: Line
    description: Description | None = None


class KnowledgeBaseUpdate(Request):
    """Only the fields given change."""

    name: Line | None = None
    description: Description | None = None


class KnowledgeBaseRead(Read):
    """A knowledge base."""

    id: UUID
    name: str
    description: str | None
    created_at: Moment
    updated_at: Moment


class DocumentCreate(Request):
    """Plain or Markdown text."""

    title: Line
    text: DocumentText


class DocumentRead(Read):
    """A document; its text is at `GET /knowledge/documents/{id}` only."""

    id: UUID
    base_id: UUID
    title: str
    media_type: str
    size_bytes: int
    status: Literal["queued", "processing", "ready", "failed"]
    progress: float
    error: str | None
    created_at: Moment
    updated_at: Moment


class DocumentDetail(DocumentRead):
    """A document with its text."""

    text: str
