"""Documents that a discussion is about: read from files, kept in a knowledge base, each content once."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import StartupFailed
from arena_client import ArenaClient, Document

LARGEST_BYTES = 32 * 1024 * 1024
LONGEST_TITLE = 200
TEXT_ENDINGS = frozenset({"", ".txt", ".text", ".md", ".markdown"})


@dataclass(frozen=True, slots=True)
class Paper:
    """A file and what it is called; `text` is what it says, where it is plain or Markdown text."""

    title: str
    text: str | None
    file_name: str
    data: bytes


def read_paper(file: Path) -> Paper:
    """A text is called by its first heading or its file's name, a file of another kind by what it says itself."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise StartupFailed(f"the document {file} cannot be read: {error.strerror or error}") from None
    if len(raw) > LARGEST_BYTES:
        raise StartupFailed(f"the document {file} is larger than {LARGEST_BYTES // 1024 // 1024} MiB")
    text = _text_of(file, raw)
    if not raw or (text is not None and not text.strip()):
        raise StartupFailed(f"the document {file} is empty")
    heading = re.search(r"^#\s+(.+?)\s*#*$", text or "", re.MULTILINE)
    title = " ".join((heading[1] if heading else file.stem).split())
    return Paper(title[:LONGEST_TITLE], text, file.name, raw)


def _text_of(file: Path, raw: bytes) -> str | None:
    """None where the server must find out what it says."""
    if file.suffix.lower() not in TEXT_ENDINGS:
        return None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def keep(client: ArenaClient, base_name: str, paper: Paper, tell: Callable[[str], None]) -> Document:
    """The paper as a document of that base, ready to be discussed; the one that is there already, if it is the same.

    `tell` is called with how far it is.
    """
    base = next((base for base in client.knowledge.list_bases() if base.name == base_name), None)
    if base is None:
        base = client.knowledge.create_base(base_name)
    if paper.text is not None:
        added = client.knowledge.add_document(base.id, paper.title, paper.text)
    else:
        added = client.knowledge.add_file(base.id, paper.data, paper.file_name)
    document = client.knowledge.wait_until_ready(added.id, on_progress=lambda seen: tell(f"{seen.progress:.0%}"))
    if document.status == "failed":
        raise StartupFailed(f"the document {paper.file_name} cannot be used: {document.error}")
    return document
