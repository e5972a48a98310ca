"""What a file is, by its bytes. Names and declared types only tell one kind of text from another."""

import io
import json
import re

from app.services.knowledge.parsing.decoding import looks_like_text
from app.services.knowledge.parsing.errors import FileDamaged, FileEmpty, FileEncrypted, UnknownFileType

PLAIN = "text/plain"
MARKDOWN = "text/markdown"
HTML = "text/html"
CSV = "text/csv"
JSON = "application/json"
JSON_LINES = "application/x-ndjson"
PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
SUPPORTED = (PLAIN, MARKDOWN, HTML, PDF, DOCX, CSV, JSON)

_BY_ENDING = {
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".html": HTML,
    ".htm": HTML,
    ".xhtml": HTML,
    ".csv": CSV,
    ".tsv": CSV,
    ".json": JSON,
    ".jsonl": JSON_LINES,
    ".ndjson": JSON_LINES,
    ".txt": PLAIN,
}
_DECLARED = {
    "text/markdown": MARKDOWN,
    "text/x-markdown": MARKDOWN,
    "text/html": HTML,
    "application/xhtml+xml": HTML,
    "text/csv": CSV,
    "application/csv": CSV,
    "text/tab-separated-values": CSV,
    "application/json": JSON,
    "application/x-ndjson": JSON_LINES,
    "application/jsonl": JSON_LINES,
}
_NAMES = {
    "application/msword": "an old Word document (.doc)",
    "application/zip": "a ZIP archive",
    "application/rtf": "a rich text file (.rtf)",
    "application/postscript": "a PostScript file",
}
# Text by its letters, but not for people; and PostgreSQL's, Word's and others' files that begin with a mark.
_NOT_FOR_READING = ((b"{\\rtf", "application/rtf"), (b"%!PS", "application/postscript"))
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_HTML_BEGINS = re.compile(
    rb"\s*(?:<\?xml[^>]{0,200}\?>\s*)?(?:<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|html[\s>]|head[\s>]|body[\s>])",
    re.IGNORECASE | re.DOTALL,
)
HEAD_BYTES = 4096


def media_type_of(content: bytes, file_name: str | None, declared: str | None) -> str:
    """One of `SUPPORTED`, or lines of JSON; raise an `Unreadable` that says what it is instead."""
    if not content.strip():
        raise FileEmpty("the file is empty: there is nothing in it to read")
    if _is_pdf(content):
        return PDF
    if content.startswith(b"PK\x03\x04"):
        return _in_zip(content)
    if content.startswith(_OLE):
        raise _in_ole(content)
    if not looks_like_text(content):
        raise _unsupported(_guess(content))
    for begins, media_type in _NOT_FOR_READING:
        if content.startswith(begins):
            raise _unsupported(media_type)
    return _kind_of_text(content, file_name, declared)


def _is_pdf(content: bytes) -> bool:
    """A PDF may have up to 1,024 bytes before it; a text about PDFs has no such end."""
    head = content[:1024]
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"%PDF-"):
        return True
    return b"%PDF-" in head and b"startxref" in content[-2048:]


def _in_zip(content: bytes) -> str:
    import zipfile  # noqa: PLC0415 - a fifth of the time that the process of a text takes to start

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        if b"word/" in content[:HEAD_BYTES]:
            raise FileDamaged("the Word document is damaged or incomplete: upload it again") from None
        raise _unsupported(_guess(content)) from None
    if any(name.startswith("word/") for name in names):
        return DOCX
    raise _unsupported(_guess(content))


def _in_ole(content: bytes) -> FileEncrypted | UnknownFileType:
    """Word wraps a document that has a password into the container of its older files."""
    if "EncryptedPackage".encode("utf-16-le") in content:
        return FileEncrypted("the document opens only with a password: remove it and upload the document again")
    if "WordDocument".encode("utf-16-le") in content:
        return _unsupported("application/msword")
    return _unsupported("application/x-ole-storage")


def _guess(content: bytes) -> str | None:
    import filetype  # noqa: PLC0415 - only for the name of what is refused, and each file would wait for it

    found = filetype.guess_mime(content[:HEAD_BYTES])
    return str(found) if found else None


def _unsupported(found: str | None) -> UnknownFileType:
    what = _NAMES.get(found or "", found or "of a type that is not known here")
    return UnknownFileType(
        f"the file is {what}, which cannot be read: text, Markdown, HTML, PDF, Word (.docx), CSV and JSON can"
    )


def _kind_of_text(content: bytes, file_name: str | None, declared: str | None) -> str:
    head = content[:HEAD_BYTES].lstrip(b"\xef\xbb\xbf").replace(b"\x00", b"").lstrip(b"\xff\xfe")
    if _HTML_BEGINS.match(head):
        return HTML
    named = _BY_ENDING.get("." + (file_name or "").rpartition(".")[2].lower())
    said = _DECLARED.get((declared or "").partition(";")[0].strip().lower())
    kind = named or said or PLAIN
    if kind in {JSON, JSON_LINES} and not head.lstrip().startswith((b"{", b"[", b'"')) and not _is_value(head):
        return PLAIN
    if kind == PLAIN and named is None and _is_json(content):
        return JSON
    return kind


def _is_value(head: bytes) -> bool:
    return bool(re.match(rb"\s*(?:-?\d|true|false|null)", head))


def _is_json(content: bytes) -> bool:
    if content.lstrip()[:1] not in {b"{", b"["} or content.rstrip()[-1:] not in {b"}", b"]"}:
        return False
    try:
        json.loads(content, parse_int=str)
    except (ValueError, RecursionError):
        return False
    return True
