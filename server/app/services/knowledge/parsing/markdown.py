"""Plain text and Markdown: kept to the letter; Markdown's headings are found in it (CommonMark 4.2, 4.3)."""

import re
from typing import NamedTuple

from app.services.knowledge.parsing.draft import Draft, clean

# Nothing here tries a place twice: a text may be one line of millions of blanks.
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t](.*))?$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_NO_PARAGRAPH = re.compile(r" {0,3}(?:>|[-*+][ \t]|\d{1,9}[.)][ \t]|\||<)| {4}|\t|\s*$")
_LINK = re.compile(r"!?\[([^\]\[]*)\](?:\([^()]*\)|\[[^\]\[]*\])")
_MARKS = re.compile(r"(\*{1,3}|`+|~~|(?<!\w)_{1,3}(?=\S)|(?<=\S)_{1,3}(?!\w))")
_FRONT_TITLE = "title:"
_BLANKS = " \t"
LONGEST_HEADING_LINE = 1_000


class _Line(NamedTuple):
    start: int
    text: str


def read_plain(text: str, draft: Draft) -> None:
    """Keep the text as it is."""
    draft.write(clean(text))


def read_markdown(text: str, draft: Draft) -> None:
    """Keep the text as it is, and note its headings; its title is the front matter's, else its first heading."""
    text = clean(text)
    draft.write(text)
    lines = _lines(text)
    front = _front_matter(lines)
    for line in lines[:front]:
        if line.text.startswith(_FRONT_TITLE) and len(line.text) <= LONGEST_HEADING_LINE:
            draft.call(_unquoted(line.text.removeprefix(_FRONT_TITLE).strip(_BLANKS)))
    _mark_headings(lines[front:], draft)
    if draft.title is None and draft.headings:
        draft.call(draft.headings[0][2])


def _lines(text: str) -> list[_Line]:
    lines, start = [], 0
    for line in text.split("\n"):
        lines.append(_Line(start, line))
        start += len(line) + 1
    return lines


def _front_matter(lines: list[_Line]) -> int:
    """How many lines a block of metadata between `---` takes at the beginning."""
    if lines[0].text.rstrip() != "---":
        return 0
    ends = (number for number, line in enumerate(lines[1:200], 2) if line.text.rstrip() in {"---", "..."})
    return next(ends, 0)


def _unquoted(said: str) -> str:
    is_quoted = len(said) > 1 and said[0] == said[-1] and said[0] in "\"'"
    return said[1:-1] if is_quoted else said


def _without_closing(heading: str) -> str:
    """A heading may end with signs like those that it begins with."""
    said = heading.strip(_BLANKS)
    closed = said.rstrip("#")
    return closed.rstrip(_BLANKS) if not closed or closed[-1] in _BLANKS else said


def _mark_headings(lines: list[_Line], draft: Draft) -> None:
    fence: str | None = None
    before: _Line | None = None  # a line of a paragraph, which the next one may underline
    for line in lines:
        if len(line.text) > LONGEST_HEADING_LINE:
            before = None
            continue
        if fence is not None:
            fence = None if _closes(fence, line.text) else fence
            continue
        if opening := _FENCE.match(line.text):
            fence, before = opening[1], None
        elif atx := _ATX.match(line.text):
            draft.mark_heading(line.start, len(atx[1]), _without_marks(_without_closing(atx[2] or "")))
            before = None
        elif before and (underline := _UNDERLINE.match(line.text)):
            draft.mark_heading(before.start, 1 if underline[1][0] == "=" else 2, _without_marks(before.text))
            before = None
        else:
            before = None if _NO_PARAGRAPH.match(line.text) else line


def _closes(fence: str, line: str) -> bool:
    stripped = line.strip()
    return stripped.startswith(fence) and not stripped.strip(fence[0])


def _without_marks(title: str) -> str:
    return _MARKS.sub("", _LINK.sub(r"\1", title))
