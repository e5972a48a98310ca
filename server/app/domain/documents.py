"""What is read from documents, what they are cut into, and what is found of them again. Without I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading at `start` of the text, in code points; `level` 1 is the highest."""

    start: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """The text of a document as people read it, and how it is built.

    `page_starts` are the places in the text, in code points, at which its pages begin; None where it has no pages.
    `title` is what the document itself says it is called.
    """

    text: str
    media_type: str
    title: str | None = None
    page_starts: Sequence[int] | None = None
    headings: Sequence[Heading] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a document that can be found by itself: `span` of its text, in code points, end exclusive.

    `heading` is the path of headings it stands under, joined by " > "; `page`, counted from 1, is where it begins.
    """

    text: str
    span: tuple[int, int]
    heading: str | None = None
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that was found; the better, the higher its `score` in the mode it was searched by."""

    chunk_id: UUID
    document_id: UUID
    base_id: UUID
    title: str
    text: str
    span: tuple[int, int]
    page: int | None
    heading: str | None
    score: float
