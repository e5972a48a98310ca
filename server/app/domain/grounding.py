"""What a turn rests on besides what was said: numbered sources, memories, a summary. Without I/O.

A source keeps its number for a whole discussion, so that everybody who writes or reads `[3]` there means the same.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Protocol
from uuid import UUID

from app.domain.documents import Passage

MOST_PARTS = 12
"""Of a document that is shown whole: its pages, several together where there are more."""


class Remembered(Protocol):
    """A memory of the speaker's."""

    @property
    def content(self) -> str: ...

    @property
    def created_at(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Source:
    """A text that a speaker may cite as `[number]`.

    It begins at `start` of the document's text, in code points; `page`, counted from 1, is where it begins.
    """

    number: int
    document_id: UUID
    title: str
    text: str
    start: int = 0
    chunk_id: UUID | None = None
    page: int | None = None
    page_starts: Sequence[int] = ()

    def page_at(self, place: int) -> int | None:
        """The page on which that place of the document's text is."""
        return bisect_right(self.page_starts, place) if self.page_starts else self.page

    def cut_to(self, characters: int) -> "Source":
        """Its beginning."""
        return self if characters >= len(self.text) else replace(self, text=self.text[:characters])


@dataclass(frozen=True, slots=True)
class Ground:
    """What one turn rests on.

    `parts` are documents of the discussion that the prompt holds from their beginning, `passages` what was found for
    the turn, the best first. `left_out` are documents that are in the prompt by their passages alone. `summary` tells
    of what was said before the messages that fit; with `has_forgotten` some of that is not at hand any more.
    """

    parts: Mapping[UUID, Sequence[Source]] = field(default_factory=dict)
    passages: Sequence[Source] = ()
    left_out: frozenset[UUID] = frozenset()
    memories: Sequence[Remembered] = ()
    summary: str | None = None
    has_forgotten: bool = False

    @property
    def example(self) -> int | None:
        """The number of one of its sources, None if it has none."""
        for parts in self.parts.values():
            for part in parts:
                return part.number
        return self.passages[0].number if self.passages else None


NOTHING = Ground()


class Numbers:
    """The numbers of a discussion's sources, and what was cited under them."""

    def __init__(self) -> None:
        self._by_source: dict[tuple[UUID, UUID | int | None], int] = {}
        self._last = 0
        self.cited: dict[int, Mapping[str, Any]] = {}

    def learn(self, citations: Iterable[Mapping[str, Any]]) -> None:
        """Take the numbers as a message of the discussion has used them."""
        for one in citations:
            number, chunk_id = int(one["n"]), one["chunk_id"]
            place = UUID(str(chunk_id)) if chunk_id is not None else one["page"]
            self._by_source.setdefault((UUID(str(one["document_id"])), place), number)
            self._last = max(self._last, number)
            self.cited.setdefault(number, one)

    def of(self, document_id: UUID, place: UUID | int | None) -> int:
        """The number of a chunk, or of what begins on a page."""
        number = self._by_source.get((document_id, place))
        if number is None:
            self._last += 1
            number = self._by_source[document_id, place] = self._last
        return number

    def passages(self, found: Iterable[Passage], page_starts: Mapping[UUID, Sequence[int]]) -> list[Source]:
        """What was found as sources."""
        return [
            Source(
                self.of(one.document_id, one.chunk_id),
                one.document_id,
                one.title,
                one.text,
                one.span[0],
                one.chunk_id,
                one.page,
                page_starts.get(one.document_id, ()),
            )
            for one in found
        ]

    def parts(self, document_id: UUID, title: str, text: str, page_starts: Sequence[int]) -> list[Source]:
        """A document as sources: its pages, or the whole of it where it has none."""
        if not text.strip():
            return []
        starts = [start for start in page_starts if start < len(text)] or [0]
        step = -(-len(starts) // MOST_PARTS)
        bounds = [0, *starts[step::step], len(text)]
        return [
            Source(
                self.of(document_id, page),
                document_id,
                title,
                text[start:end],
                start,
                None,
                page,
                page_starts,
            )
            for (start, end), page in zip(pairwise(bounds), _pages(page_starts, bounds), strict=True)
            if text[start:end].strip()
        ]


def _pages(page_starts: Sequence[int], bounds: Sequence[int]) -> list[int | None]:
    return [max(bisect_right(page_starts, start), 1) if page_starts else None for start in bounds[:-1]]
