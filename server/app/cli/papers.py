"""Documents that a discussion is about: read from files, kept in a knowledge base, each text once."""

import re
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import StartupFailed
from arena_client import ArenaClient, Document

LARGEST_BYTES = 4 * 1024 * 1024
LONGEST_TITLE = 200


@dataclass(frozen=True, slots=True)
class Paper:
    """A text and what it is called."""

    title: str
    text: str


def read_paper(file: Path) -> Paper:
    """Plain or Markdown text, called by its first heading or its file's name."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise StartupFailed(f"the document {file} cannot be read: {error.strerror or error}") from None
    if len(raw) > LARGEST_BYTES:
        raise StartupFailed(f"the document {file} is larger than {LARGEST_BYTES // 1024 // 1024} MiB")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise StartupFailed(f"the document {file} is not text in UTF-8: save it as plain text or Markdown first")
    if not text.strip():
        raise StartupFailed(f"the document {file} is empty")
    heading = re.search(r"^#\s+(.+?)\s*#*$", text, re.MULTILINE)
    title = " ".join((heading[1] if heading else file.stem).split())
    return Paper(title[:LONGEST_TITLE], text)


def keep(client: ArenaClient, base_name: str, paper: Paper) -> Document:
    """The paper as a document of that base; the one that is there already, if it says the same."""
    base = next((base for base in client.knowledge.list_bases() if base.name == base_name), None)
    if base is None:
        base = client.knowledge.create_base(base_name)
    size = len(paper.text.encode())
    for document in client.knowledge.list_documents(base.id):
        is_like = document.title == paper.title and document.size_bytes == size
        if is_like and client.knowledge.get_document(document.id).text == paper.text:
            return document
    return client.knowledge.add_document(base.id, paper.title, paper.text)
