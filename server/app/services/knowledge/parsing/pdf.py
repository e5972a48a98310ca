"""PDF through PDFium: pages, their text in reading order, and headings by the outline or else by the size of letters.

PDFium ends its process when memory is used up; that is what the process is for (see `child.py`).
"""

import codecs
import re
from collections import Counter
from typing import Any, NamedTuple

import pypdfium2
from pypdfium2 import raw

from app.services.knowledge.parsing.draft import Draft, clean, on_one_line
from app.services.knowledge.parsing.errors import FileDamaged, FileEncrypted

MAX_OUTLINE_DEPTH = 6
HEADING_RATIO = 1.15  # of the size that most text has
LONGEST_HEADING = 120
MOST_SIZES = 3
LARGEST_SHARE = 0.2  # of all lines; where more look like headings, size says nothing
_HYPHEN = re.compile("\ufffe(?:\r?\n)?")  # PDFium's sign for a hyphen at the end of a line
_MADE_UP_TITLE = re.compile(
    r"(?:untitled|anonymous|microsoft word - .*|.*\.(?:docx?|indd|tex|dvi|qxd))$", re.IGNORECASE
)

codecs.lookup("utf-16-le")  # PDFium's text is in it; once the process is sealed no codec can be loaded


class _Line(NamedTuple):
    """A line of text that may be a heading: where it is, and how large its first letter is."""

    start: int
    size: float
    text: str


def read_pdf(content: bytes, draft: Draft) -> None:
    """Write all pages; raise `FileEncrypted`, `FileDamaged` or `TooManyPages`."""
    document = _open(content)
    draft.check_pages(len(document))
    lines: list[_Line] = []
    sizes: Counter[float] = Counter()
    broken = 0
    for number in range(len(document)):
        draft.page()
        try:
            lines += _read_page(document, number, draft, sizes)
        except pypdfium2.PdfiumError:
            broken += 1
    if broken and not draft.length:
        raise FileDamaged("no page of the PDF can be read, it seems damaged: save it anew and upload it again")
    for start, level, title in _outline(document, draft) or _large_lines(lines, sizes):
        draft.mark_heading(start, level, title)
    title = on_one_line(document.get_metadata_dict(skip_empty=True).get("Title", ""))
    draft.call(None if _MADE_UP_TITLE.match(title) else title)


def _open(content: bytes) -> Any:
    try:
        document = pypdfium2.PdfDocument(content)
        len(document)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower() or "security" in str(error).lower():
            raise FileEncrypted("the PDF opens only with a password: remove it and upload the file again") from None
        raise FileDamaged("the PDF is damaged or incomplete: save it anew and upload it again") from None
    return document


def _read_page(document: Any, number: int, draft: Draft, sizes: Counter[float]) -> list[_Line]:
    page = document[number]
    text_page = page.get_textpage()
    try:
        return _read_lines(text_page, draft, sizes)
    finally:
        text_page.close()
        page.close()


def _read_lines(text_page: Any, draft: Draft, sizes: Counter[float]) -> list[_Line]:
    found, index = [], 0
    for line in text_page.get_text_range().split("\r\n"):
        text = clean(_HYPHEN.sub("", line)).strip()
        if text:
            draft.block(text, gap="\n")
            size = _size(text_page, index + len(line) - len(line.lstrip()))
            sizes[size] += len(text)
            found.append(_Line(draft.length - len(text), size, text))
        index += len(line) + 2
    return found


def _size(text_page: Any, index: int) -> float:
    character = raw.FPDFText_GetCharIndexFromTextIndex(text_page, index)
    return round(raw.FPDFText_GetFontSize(text_page, character), 1) if character >= 0 else 0.0


def _outline(document: Any, draft: Draft) -> list[tuple[int, int, str]]:
    """The bookmarks, each at its title on its page, or where that is not to be found at the top of the page."""
    text, starts = draft.text, draft.page_starts or []
    found: dict[int, tuple[int, int, str]] = {}
    for bookmark in document.get_toc(max_depth=MAX_OUTLINE_DEPTH):
        title = on_one_line(bookmark.get_title() or "")
        target = bookmark.get_dest()
        number = target.get_index() if target is not None else None
        if not title or number is None or not 0 <= number < len(starts):
            continue
        end = starts[number + 1] if number + 1 < len(starts) else len(text)
        start = _place(text, title, starts[number], end)
        found.setdefault(start, (start, bookmark.level + 1, title))
        if len(found) >= len(starts) * 50:
            break
    return [found[start] for start in sorted(found)]


def _place(text: str, title: str, start: int, end: int) -> int:
    words = r"\s+".join(map(re.escape, title[:LONGEST_HEADING].split()))
    match = re.compile(rf"(?:^|\n)(?:[\d.]+\s+)?({words})", re.IGNORECASE).search(text, start, end)
    if match is None:
        return start
    return match.start() + (text[match.start()] == "\n")


def _large_lines(lines: list[_Line], sizes: Counter[float]) -> list[tuple[int, int, str]]:
    if not sizes:
        return []
    body = max(sizes, key=sizes.__getitem__)
    large = [
        line
        for line in lines
        if line.size >= body * HEADING_RATIO and len(line.text) <= LONGEST_HEADING and any(map(str.isalpha, line.text))
    ]
    if len(large) > len(lines) * LARGEST_SHARE:
        return []
    levels = {size: level for level, size in enumerate(sorted({line.size for line in large}, reverse=True), 1)}
    return [(line.start, min(levels[line.size], MOST_SIZES), line.text) for line in _unwrapped(large)]


def _unwrapped(lines: list[_Line]) -> list[_Line]:
    """Headings that were broken over lines, as one."""
    whole: list[_Line] = []
    for line in lines:
        last = whole[-1] if whole else None
        if last and last.size == line.size and last.start + len(last.text) + 1 == line.start:
            whole[-1] = _Line(last.start, last.size, f"{last.text} {line.text}")
        else:
            whole.append(line)
    return whole
