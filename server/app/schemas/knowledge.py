"""Wire types of knowledge bases and documents."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from app.schemas.agent import ModelName
from app.schemas.base import Line, Moment, Read, Request, Text, storable

Description = Annotated[Text, StringConstraints(max_length=2_000)]
DocumentText = Annotated[
    str, StringConstraints(min_length=1, max_length=5_000_000, pattern=r"\S"), AfterValidator(storable)
]
DocumentUrl = Annotated[
    str, StringConstraints(max_length=2_000, pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://\S+$"), AfterValidator(storable)
]
DocumentStatus = Literal["queued", "processing", "ready", "failed"]
_STRING, _NULL = {"type": "string"}, {"type": "null"}
_A_TEXT: dict[str, Any] = {
    "required": ["title", "text"],
    "properties": {"title": _STRING, "text": _STRING, "url": _NULL},
}
_A_URL: dict[str, Any] = {"required": ["url"], "properties": {"url": _STRING, "text": _NULL}}
_EMBEDDING = "Embeds its documents; default: the one that comes with the product."
_MODEL = "Summarises its documents and reads what is extracted from them; default: the installation's."


class KnowledgeBaseCreate(Request):
    """A new knowledge base; its name is unique in the workspace."""

    name: Line
    description: Description | None = None
    embedding_model: Annotated[ModelName | None, Field(description=_EMBEDDING)] = None
    model: Annotated[ModelName | None, Field(description=_MODEL)] = None


class KnowledgeBaseUpdate(Request):
    """Only the fields given change; while documents are embedded by another `embedding_model`, the old one serves."""

    name: Line | None = None
    description: Description | None = None
    embedding_model: Annotated[ModelName | None, Field(description=_EMBEDDING)] = None
    model: Annotated[ModelName | None, Field(description=_MODEL)] = None


class KnowledgeBaseRead(Read):
    """A knowledge base; `embedding_progress` (0 to 1) says how far its change to `next_embedding_model` is."""

    id: UUID
    name: str
    description: str | None
    embedding_model: str
    next_embedding_model: str | None
    embedding_progress: float | None
    embedding_error: str | None
    model: str | None
    created_at: Moment
    updated_at: Moment


class DocumentCreate(Request):
    """Plain or Markdown text with its title, or the URL of a document. Files are sent as a form."""

    title: Line | None = None
    text: DocumentText | None = None
    url: Annotated[DocumentUrl | None, Field(description="Fetched from a public address.")] = None

    model_config = ConfigDict(json_schema_extra={"oneOf": [_A_TEXT, _A_URL]})

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if (self.text is None) == (self.url is None):
            raise ValueError("give either title and text, or url; a file is sent as multipart/form-data")
        if self.text is not None and self.title is None:
            raise ValueError("a text needs a title")
        return self


class DocumentUpload(Request):
    """A form with a file, as the OpenAPI document shows it."""

    file: Annotated[bytes, Field(min_length=1, description="The document itself.")]
    title: Line | None = None


class Entity(Read):
    """Somebody or something that a document names."""

    name: str
    type: Literal["person", "organisation", "place", "date", "other"]


class DocumentRead(Read):
    """A document; its text is at `GET /knowledge/documents/{id}` only.

    `progress` (0 to 1) says how much of the work is done until it is found by searches; `error` what to do about one
    that failed.
    """

    id: UUID
    base_id: UUID
    title: str
    source: Literal["text", "file", "url"]
    url: str | None
    file_name: str | None
    media_type: str
    size_bytes: int
    language: str | None = Field(description="ISO 639-1, where it is clear.")
    status: DocumentStatus
    progress: float
    error: str | None
    error_code: str | None
    chunk_count: int
    enrichment: Literal["none", "queued", "ready", "failed"]
    summary: str | None
    keywords: list[str] | None
    entities: list[Entity] | None = Field(description="Whom and what it names; empty where no model described it.")
    enriched_by: str | None = Field(description="The model that described it; null: it was read from the text alone.")
    ingested_at: Moment | None
    created_at: Moment
    updated_at: Moment


class DocumentDetail(DocumentRead):
    """A document with its text; empty until it is read from the file."""

    text: str
    page_starts: list[int] | None = Field(description="Where in the text its pages begin, in code points.")
