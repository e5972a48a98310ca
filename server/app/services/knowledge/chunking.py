"""Cuts a document into pieces that can be found by themselves: along its headings and pages, then its sentences.

Always holds: each piece is its span of the text to the letter; pieces are in order and do not overlap; nothing but
white space lies between them; none is longer than `MOST_CHARACTERS`, and none reaches over the end of a page, so that
its page is the one to cite. Time grows with the length of the text, whatever it is.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from semantic_text_splitter import TextSplitter

from app.domain.documents import Heading, ParsedDocument, Piece

FEWEST_CHARACTERS = 600
MOST_CHARACTERS = 1_000
TINY_CHARACTERS = 200
WINDOW_CHARACTERS = 16_000  # the splitter's time grows with the square of what it cannot cut
LONGEST_WORD = 400
PATH_SEPARATOR = " > "

_BREAKS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"(?<=[.!?。！？])\s*"), re.compile(r"\s"))
_CUTTABLE = re.compile(r"[\s.!?。！？、，；：]")
_JOINS = frozenset("\u200d\ufe0e\ufe0f")
_REGIONAL = range(0x1F1E6, 0x1F200)
_SKIN_TONES = range(0x1F3FB, 0x1F400)


class _Part(NamedTuple):
    """A stretch of the text under one path of headings and on one page."""

    start: int
    end: int
    path: tuple[str, ...]
    page: int | None


def cut(document: ParsedDocument) -> list[Piece]:
    """The pieces of the document; none if there is no text in it."""
    text = document.text
    pieces = []
    for part in _joined(text, _parts(document)):
        for start, end in _spans(text, part.start, part.end):
            heading = PATH_SEPARATOR.join(part.path) or None
            pieces.append(Piece(text[start:end], (start, end), heading, part.page))
    return pieces


def _parts(document: ParsedDocument) -> Iterator[_Part]:
    """The text between one heading or page and the next."""
    end = len(document.text)
    headings = {heading.start: heading for heading in document.headings if 0 <= heading.start < end}
    pages = _pages(document.page_starts, end)
    places = sorted({0, *headings, *pages})
    open_headings: list[Heading] = []
    page = None
    for start, stop in zip(places, [*places[1:], end], strict=True):
        if heading := headings.get(start):
            open_headings = [one for one in open_headings if one.level < heading.level] + [heading]
        page = pages.get(start, page)
        yield _Part(start, stop, tuple(one.title for one in open_headings), page)


def _pages(starts: Sequence[int] | None, end: int) -> dict[int, int]:
    """The page that begins at each place; of several that are empty, the last."""
    return {start: number for number, start in enumerate(starts or (), 1) if start < end}


def _joined(text: str, parts: Iterator[_Part]) -> Iterator[_Part]:
    """Parts of some length: a heading without text belongs to what follows it, and so do a few words."""
    held: _Part | None = None
    for part in parts:
        if held is None:
            held = part
        elif _tiny(text, held) and held.page == part.page and part.end - held.start <= MOST_CHARACTERS:
            held = _Part(held.start, part.end, _path_over(held.path, part.path), part.page)
        else:
            yield held
            held = part
    if held is not None:
        yield held


def _tiny(text: str, part: _Part) -> bool:
    return part.end - part.start < TINY_CHARACTERS or not text[part.start : part.end].strip()


def _path_over(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """The path of what is under both: the longer one where it goes on from the other, else what they share."""
    shared = next((at for at, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]), None)
    return max(first, second, key=len) if shared is None else first[:shared]


def _spans(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for window_start, window_end in _windows(text, start, end):
        window = text[window_start:window_end]
        for offset, piece in _pieces(window):
            begin = window_start + offset
            yield begin, begin + len(piece)


def _windows(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Stretches that the splitter is given, each ending where a reader would pause if there is such a place."""
    while end - start > WINDOW_CHARACTERS:
        stop = _pause_before(text, start + WINDOW_CHARACTERS // 2, start + WINDOW_CHARACTERS)
        yield start, stop
        start = stop
    if start < end:
        yield start, end


def _pause_before(text: str, earliest: int, latest: int) -> int:
    for pause in _BREAKS:
        last = None
        for last in pause.finditer(text, earliest, latest):  # noqa: B007  - the last one is what is wanted
            pass
        if last is not None and last.end() > earliest:
            return last.end()
    return _between_characters(text, earliest, latest)


def _pieces(window: str) -> list[tuple[int, str]]:
    """Pieces and where they begin; what has no place to cut at is cut by its length alone, which is quicker."""
    if len(window) > LONGEST_WORD and len(_CUTTABLE.findall(window)) * LONGEST_WORD < len(window):
        return _trimmed(window, _by_length(window))
    return _splitter().chunk_indices(window)


def _by_length(window: str) -> Iterator[tuple[int, int]]:
    start = 0
    while len(window) - start > MOST_CHARACTERS:
        stop = _between_characters(window, start + FEWEST_CHARACTERS, start + MOST_CHARACTERS)
        yield start, stop
        start = stop
    yield start, len(window)


def _trimmed(window: str, spans: Iterator[tuple[int, int]]) -> list[tuple[int, str]]:
    found = []
    for start, end in spans:
        piece = window[start:end]
        if stripped := piece.strip():
            found.append((start + len(piece) - len(piece.lstrip()), stripped))
    return found


def _between_characters(text: str, earliest: int, latest: int) -> int:
    """The last place that does not part a letter from its accents, or an emoji from what makes it one."""
    for place in range(latest, earliest, -1):
        if not _continues(text[place - 1], text[place]):
            return place
    return latest


def _continues(before: str, character: str) -> bool:
    return (
        before == "\u200d"
        or character in _JOINS
        or unicodedata.category(character) in {"Mn", "Mc", "Me"}
        or ord(character) in _SKIN_TONES
        or (ord(before) in _REGIONAL and ord(character) in _REGIONAL)
    )


@cache
def _splitter() -> TextSplitter:
    return TextSplitter((FEWEST_CHARACTERS, MOST_CHARACTERS))
