"""Wire types of what is extracted from documents."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from app.schemas.agent import ModelName
from app.schemas.ai import ChatUsage
from app.schemas.base import Moment, Read, Request, Text, storable
from app.schemas.search import Span

Instructions = Annotated[Text, StringConstraints(min_length=1, max_length=2_000, pattern=r"\S")]
ExtractionStatus = Literal["queued", "processing", "ready", "incomplete", "failed"]


def _all_storable(part: Any) -> Any:
    waiting = [part]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            storable(one)
        elif isinstance(one, dict):
            waiting += [*one, *one.values()]
        elif isinstance(one, list):
            waiting += one
    return part


Form = dict[Text, Annotated[Any, AfterValidator(_all_storable)]]
_SCHEMA = "JSON Schema (Draft 2020-12) of an object: what is to be found."


class ExtractionCreate(Request):
    """What to extract from a document."""

    form: Form = Field(alias="schema", description=_SCHEMA)
    model: ModelName | None = Field(None, description="Default: the base's, else the installation's.")
    instructions: Instructions | None = Field(None, description="What else there is to know about it.")


class FieldSource(Read):
    """A place in the document that says so; `span` is its place in the document's text."""

    chunk_id: UUID
    span: Span
    page: int | None = Field(description="Counted from 1; null where there are no pages.")
    quote: str = Field(description="As it stands in the document; its beginning, if it is long.")


class ExtractionRead(Read):
    """An extraction; what it came to is at `GET /knowledge/extractions/{id}` only.

    `incomplete`: the result does not fit the schema, since the document does not hold all that is required, or not all
    of the document was read.
    """

    id: UUID
    document_id: UUID
    model: str
    instructions: str | None
    status: ExtractionStatus
    progress: float = Field(description="0 to 1: how much of the document the model was shown.")
    chunk_count: int = Field(description="Chunks of the document.")
    chunks_read: int = Field(description="Those that the model gave a useful answer of.")
    error: str | None
    error_code: str | None
    usage: ChatUsage
    created_at: Moment
    updated_at: Moment


class ExtractionDetail(ExtractionRead):
    """An extraction with its schema and its result."""

    form: dict[str, Any] = Field(alias="schema")
    result: dict[str, Any] | None = Field(description="Null until it is ready or incomplete.")
    sources: dict[str, list[FieldSource]] = Field(description="Of values in the result, by their JSON Pointers.")
    unsupported: list[str] = Field(description="Pointers of values for which no place in the document was found.")
    missing: list[str] = Field(description="Pointers of what the schema requires and the document does not say.")
    faults: list[str] = Field(description="All in which the result does not fit the schema; empty where it does.")
