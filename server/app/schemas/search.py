"""Wire types of searching in knowledge."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from app.schemas.agent import ModelName
from app.schemas.base import Read, Request, storable

Mode = Literal["hybrid", "vector", "keyword"]
Query = Annotated[str, StringConstraints(min_length=1, max_length=2_000, pattern=r"\S"), AfterValidator(storable)]


class SearchCreate(Request):
    """What to look for: a question or words; `"words in quotes"` must be there, a `-word` must not."""

    query: Query
    base_ids: list[UUID] = Field(default=[], max_length=200, description="Empty: all bases of the workspace.")
    document_ids: list[UUID] = Field(default=[], max_length=200, description="Empty: all documents of the bases.")
    k: int = Field(default=10, ge=1, le=100, description="Most passages to be found.")
    mode: Mode = Field(
        default="hybrid", description="By words (`keyword`), by meaning (`vector`), or by both in one ranking."
    )
    rerank_model: ModelName | None = Field(
        default=None, description="A language model that ranks the first 30 anew; it takes longer, and is paid for."
    )


class Span(Read):
    """A part of a text, in code points; `end` is the first that is not in it."""

    start: int
    end: int


class ChunkRead(Read):
    """A piece of a document; `span` is its place in the document's text."""

    chunk_id: UUID
    document_id: UUID
    base_id: UUID
    title: str = Field(description="The document's.")
    text: str
    span: Span
    page: int | None = Field(description="Where it begins, counted from 1; null where there are no pages.")
    heading: str | None = Field(description="The headings it stands under, joined by ` > `.")


class PassageRead(ChunkRead):
    """A piece that was found; `highlights` are the places in `text` of words that were looked for."""

    score: float = Field(description="The higher, the better; comparable only within one answer.")
    highlights: list[Span]


class SearchRead(Read):
    """The best passages, best first."""

    items: list[PassageRead]
    mode: Mode = Field(description="As asked for; but `keyword` where the embedding model did not answer.")
    reranked: bool = Field(description="Whether `rerank_model` ranked them; where it fails, they stay as they were.")
