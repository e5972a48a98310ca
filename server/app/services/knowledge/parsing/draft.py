"""The text of a document while it is read: clean, bounded, with the places of its headings and pages."""

import re

from app.services.knowledge.parsing.errors import FileTooComplex, TooManyPages

MAX_HEADINGS = 20_000
MAX_TITLE = 200
LOWEST_LEVEL = 9

_LINE_ENDS = re.compile("\r\n?|[\u0085\u2028\u2029\x0b\x0c]")
# Control characters, half surrogate pairs and what is no character at all; PostgreSQL refuses some, readers all.
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
_INVISIBLE = re.compile("[\\s\u00ad\u200b-\u200f\u2060]*")
_SPACE = re.compile(r"\s+")


def clean(text: str) -> str:
    """The text as it can be kept: lines end with a line feed, no control characters but that and the tab."""
    return _UNWANTED.sub("", _LINE_ENDS.sub("\n", text))


def on_one_line(text: str) -> str:
    """The text with every run of white space made one blank."""
    return _SPACE.sub(" ", clean(text)).strip()


def is_blank(text: str) -> bool:
    """Whether there is nothing to see in the text."""
    return _INVISIBLE.fullmatch(text) is not None


class Draft:
    """Grows from its beginning to its end; all places are in code points of the final text."""

    def __init__(self, max_characters: int, *, max_pages: int = 0) -> None:
        self.title: str | None = None
        self.headings: list[tuple[int, int, str]] = []
        self.page_starts: list[int] | None = None
        self._parts: list[str] = []
        self._length = 0
        self._max_characters = max_characters
        self._max_pages = max_pages

    @property
    def length(self) -> int:
        return self._length

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def write(self, text: str) -> None:
        """Add clean text as it is; raise `FileTooComplex` if the whole becomes too long."""
        self._length += len(text)
        if self._length > self._max_characters:
            raise FileTooComplex(
                f"the file holds more than {self._max_characters:,} characters of text: split it into smaller ones"
            )
        self._parts.append(text)

    def block(self, text: str, *, gap: str = "\n\n") -> None:
        """Add a paragraph, or with another `gap` before it a line; nothing if it is blank."""
        text = clean(text).strip("\n")
        if not text.strip():
            return
        if self._length and not self._at_page_start():
            self.write(gap)
        self.write(text)

    def heading(self, level: int, text: str) -> None:
        """Add a heading on a line of its own."""
        title = on_one_line(text)
        if not title:
            return
        if self._length and not self._at_page_start():
            self.write("\n\n")
        self.mark_heading(self._length, level, title)
        self.write(title)

    def mark_heading(self, start: int, level: int, title: str) -> None:
        """Note that the text at `start` is a heading."""
        title = on_one_line(title)[:MAX_TITLE].rstrip()
        if title and len(self.headings) < MAX_HEADINGS:
            self.headings.append((start, min(max(level, 1), LOWEST_LEVEL), title))

    def check_pages(self, pages: int) -> None:
        """Raise `TooManyPages` if so many are more than are read."""
        if pages > self._max_pages:
            raise TooManyPages(
                f"the file has {pages:,} pages, and at most {self._max_pages:,} are read: split it into smaller ones"
            )

    def page(self) -> None:
        """Begin a page."""
        if self.page_starts is None:
            self.page_starts = []
        elif self._length and not self._at_page_start():
            self.write("\n\n")
        self.page_starts.append(self._length)

    def call(self, title: str | None) -> None:
        """Note what the document says it is called, if it says anything."""
        self.title = (on_one_line(title)[:MAX_TITLE].rstrip() if title else None) or self.title

    def _at_page_start(self) -> bool:
        return bool(self.page_starts) and self.page_starts is not None and self.page_starts[-1] == self._length
