"""Word documents (.docx): paragraphs, headings by their style, lists, tables, notes; nothing deleted or hidden.

The archive's parts are read as streams, each cut at a size that no document for people has, and no element is kept
once it has ended: a bomb ends at a limit, not in memory.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any
from xml.etree.ElementTree import Element, ParseError  # nosec B405 - names of types; defusedxml parses

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from app.services.knowledge.parsing.draft import Draft
from app.services.knowledge.parsing.errors import FileDamaged, FileEncrypted, FileTooComplex

MAX_PART_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 500
MAX_ENTRIES = 10_000
MAX_STYLES_BETWEEN = 20
READ_BYTES = 64 * 1024
BULLET = "- "
CELL_BORDER = " | "
_LEFT_OUT = frozenset({"Fallback", "del", "moveFrom", "instrText", "delText", "delInstrText", "rt", "sectPr"})
_SIGNS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": "\t"}
_HEADING = re.compile(r"heading (\d)$", re.IGNORECASE)
_DAMAGED = "the Word document is damaged or incomplete: save it anew and upload it again"


def read_docx(content: bytes, draft: Draft) -> None:
    """Write the body; raise `FileEncrypted`, `FileDamaged` or `FileTooComplex`."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _read(archive, draft)
    except RuntimeError as error:  # what zipfile raises for a password
        if "password" in str(error) or "encrypted" in str(error):
            raise FileEncrypted("the document opens only with a password: remove it and upload it again") from None
        raise
    except (zipfile.BadZipFile, zlib.error, ParseError, DefusedXmlException, EOFError, KeyError, NotImplementedError):
        raise FileDamaged(_DAMAGED) from None


def _read(archive: zipfile.ZipFile, draft: Draft) -> None:
    names = frozenset(archive.namelist())
    if len(names) > MAX_ENTRIES:
        raise FileTooComplex(f"the document is made of more than {MAX_ENTRIES:,} files: save it anew as .docx")
    body = _main_part(archive, names)
    folder = body.rpartition("/")[0]
    styles = _styles(archive, f"{folder}/styles.xml") if f"{folder}/styles.xml" in names else {}
    notes: dict[tuple[str, str], str] = {}
    for kind in ("footnote", "endnote"):
        if (part := f"{folder}/{kind}s.xml") in names:
            notes |= _notes(archive, part, kind)
    if "docProps/core.xml" in names:
        _read_title(archive, draft)
    _Body(draft, styles, notes).read(_events(archive, body))


def _main_part(archive: zipfile.ZipFile, names: frozenset[str]) -> str:
    """Usually `word/document.xml`; what the package names as its document counts."""
    if "_rels/.rels" in names:
        for event, element in _events(archive, "_rels/.rels"):
            if event == "end" and element.get("Type", "").endswith("/officeDocument"):
                target = element.get("Target", "").lstrip("/")
                return target if target in names else "word/document.xml"
    return "word/document.xml"


class _Capped:
    """A part of the archive that may not unpack to more than `MAX_PART_BYTES`."""

    def __init__(self, part: IO[bytes]) -> None:
        self._part = part
        self._left = MAX_PART_BYTES

    def read(self, size: int = READ_BYTES) -> bytes:
        data = self._part.read(min(size, READ_BYTES) if size > 0 else READ_BYTES)
        self._left -= len(data)
        if self._left < 0:
            raise FileTooComplex(
                f"a part of the document unpacks to more than {MAX_PART_BYTES // 1024**2} MiB: split the document"
            )
        return data


def _events(archive: zipfile.ZipFile, part: str) -> Iterator[tuple[str, Element]]:
    """The elements of a part as they start and end, without what is not read; each is forgotten after its end."""
    above: list[Element] = []
    left_out = 0
    with archive.open(part) as stream:
        for event, element in iterparse(_Capped(stream), ("start", "end"), forbid_dtd=True):
            skips = _name(element) in _LEFT_OUT
            if event == "start":
                above.append(element)
                left_out += skips
                if len(above) > MAX_DEPTH:
                    raise FileTooComplex(f"the document is nested deeper than {MAX_DEPTH} levels: simplify it")
            if not left_out:
                yield event, element
            if event == "end":
                above.pop()
                left_out -= skips
                if above:
                    above[-1].remove(element)


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _attribute(element: Element, name: str) -> str | None:
    """In either of the two namespaces that such documents come in."""
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), None)


def _styles(archive: zipfile.ZipFile, part: str) -> dict[str, int]:
    """The level of each style of headings, of those too that are based on one."""
    levels: dict[str, int] = {}
    based_on: dict[str, str] = {}
    style = ""
    for event, element in _events(archive, part):
        name, value = _name(element), _attribute(element, "val") or ""
        if event != "start":
            continue
        if name == "style":
            style = _attribute(element, "styleId") or ""
        elif name == "name" and (level := _level_named(value)):
            levels[style] = level
        elif name == "basedOn":
            based_on[style] = value
        elif name == "outlineLvl" and value.isdecimal() and int(value) < 9:
            levels.setdefault(style, int(value) + 1)
    for style, base in based_on.items():
        if style not in levels and (level := _inherited(base, based_on, levels)):
            levels[style] = level
    return levels


def _inherited(style: str, based_on: dict[str, str], levels: dict[str, int]) -> int | None:
    for _ in range(MAX_STYLES_BETWEEN):
        if style in levels or style not in based_on:
            break
        style = based_on[style]
    return levels.get(style)


def _level_named(name: str) -> int | None:
    if name.lower() == "title":
        return 1
    heading = _HEADING.match(name)
    return int(heading[1]) if heading else None


def _notes(archive: zipfile.ZipFile, part: str, kind: str) -> dict[tuple[str, str], str]:
    notes: dict[tuple[str, str], str] = {}
    identifier, said = "", list[str]()
    for event, element in _events(archive, part):
        name = _name(element)
        if event == "start" and name == kind:
            identifier, said = _attribute(element, "id") or "", []
        elif event == "end" and name == "t":
            said.append(element.text or "")
        elif event == "end" and name == "p":
            said.append(" ")
        elif event == "end" and name == kind and "".join(said).strip():
            notes[kind, identifier] = "".join(said).strip()
    return notes


def _read_title(archive: zipfile.ZipFile, draft: Draft) -> None:
    for event, element in _events(archive, "docProps/core.xml"):
        if event == "end" and _name(element) == "title":
            draft.call(element.text)


class _Paragraph:
    """What one paragraph says, while it is read."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.level: int | None = None
        self.in_list = False
        self.notes: list[str] = []

    @property
    def text(self) -> str:
        text = "".join(self.said).strip()
        return BULLET + text if self.in_list and text and self.level is None else text


class _Body:
    """Follows the elements of the body; paragraphs may lie within others (text boxes) and in cells of tables."""

    def __init__(self, draft: Draft, styles: dict[str, int], notes: dict[tuple[str, str], str]) -> None:
        self._draft = draft
        self._styles = styles
        self._notes = notes
        self._paragraphs: list[_Paragraph] = []
        self._rows: list[list[list[str]]] = []
        self._hidden = False
        self._after_line = False

    def read(self, events: Iterator[tuple[str, Element]]) -> None:
        for event, element in events:
            step: Any = getattr(self, f"_{event}_{_name(element)}", None)
            if step is not None:
                step(element)
            elif event == "start" and (sign := _SIGNS.get(_name(element))):
                self._say(sign)

    def _say(self, text: str) -> None:
        if self._paragraphs and not self._hidden:
            self._paragraphs[-1].said.append(text)

    def _start_p(self, _: Element) -> None:
        self._paragraphs.append(_Paragraph())

    def _start_pStyle(self, element: Element) -> None:  # noqa: N802 - the element's name
        if self._paragraphs:
            self._paragraphs[-1].level = self._styles.get(_attribute(element, "val") or "")

    def _start_outlineLvl(self, element: Element) -> None:  # noqa: N802 - the element's name
        value = _attribute(element, "val") or ""
        if self._paragraphs and value.isdecimal() and int(value) < 9:
            self._paragraphs[-1].level = int(value) + 1

    def _start_numId(self, element: Element) -> None:  # noqa: N802 - the element's name
        if self._paragraphs:
            self._paragraphs[-1].in_list = _attribute(element, "val") != "0"

    def _start_r(self, _: Element) -> None:
        self._hidden = False

    def _start_vanish(self, element: Element) -> None:
        self._hidden = _attribute(element, "val") not in {"0", "false", "off"}

    def _end_r(self, _: Element) -> None:
        self._hidden = False

    def _end_pPr(self, _: Element) -> None:  # noqa: N802 - the element's name
        self._hidden = False  # it was the paragraph's mark that is hidden, not its text

    def _end_t(self, element: Element) -> None:
        self._say(element.text or "")

    def _start_footnoteReference(self, element: Element) -> None:  # noqa: N802 - the element's name
        self._refer("footnote", element)

    def _start_endnoteReference(self, element: Element) -> None:  # noqa: N802 - the element's name
        self._refer("endnote", element)

    def _refer(self, kind: str, element: Element) -> None:
        identifier = _attribute(element, "id") or ""
        if self._paragraphs and (note := self._notes.get((kind, identifier))):
            self._say(f"[{identifier}]")
            self._paragraphs[-1].notes.append(f"[{identifier}] {note}")

    def _end_p(self, _: Element) -> None:
        if not self._paragraphs:
            return
        paragraph = self._paragraphs.pop()
        if self._rows and self._rows[-1]:
            self._rows[-1][-1] += [paragraph.text, *paragraph.notes]
            return
        if paragraph.level is not None:
            self._draft.heading(paragraph.level, paragraph.text)
            self._after_line = False
        else:
            self._write(paragraph.text, on_next_line=paragraph.in_list)
        for note in paragraph.notes:
            self._draft.block(note, gap="\n")

    def _start_tr(self, _: Element) -> None:
        self._rows.append([])

    def _start_tc(self, _: Element) -> None:
        if self._rows:
            self._rows[-1].append([])

    def _end_tr(self, _: Element) -> None:
        if not self._rows:
            return
        cells = [" ".join(filter(None, said)).replace("\n", " ") for said in self._rows.pop()]
        line = CELL_BORDER.join(cells).strip() if any(cells) else ""
        if self._rows and self._rows[-1]:  # a table in a cell
            self._rows[-1][-1].append(line)
        else:
            self._write(line, on_next_line=True)

    def _start_tbl(self, _: Element) -> None:
        if not self._rows:
            self._after_line = False

    _end_tbl = _start_tbl

    def _write(self, text: str, *, on_next_line: bool) -> None:
        """Lists and tables are lines below each other; all else are paragraphs."""
        self._draft.block(text, gap="\n" if on_next_line and self._after_line else "\n\n")
        self._after_line = on_next_line
