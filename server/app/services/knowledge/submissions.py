"""What people hand in as a document: a text, a file, or a URL."""

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from app.schemas.base import storable
from app.schemas.knowledge import DocumentCreate

LONGEST_NAME = 200
NOTHING = memoryview(b"")


@dataclass(frozen=True, slots=True)
class Submission:
    """`title` None: it is called what it says itself. `declared` is the type that its sender says a file is of."""

    source: Literal["text", "file", "url"]
    title: str | None = None
    text: str | None = None
    url: str | None = None
    file_name: str | None = None
    declared: str | None = None
    data: memoryview = NOTHING

    @property
    def name(self) -> str:
        """Its title, or what serves as one until it is read."""
        return self.title or default_title(self.file_name, self.url)

    @property
    def size_bytes(self) -> int:
        """Of a URL nothing is known before it is fetched."""
        return len(self.text.encode()) if self.text is not None else len(self.data)

    def content_hash(self) -> bytes:
        """Of two that are the same it is the same: a text with its title, a file, or a URL."""
        digest = hashlib.sha256(self.source.encode() + b"\0")
        if self.source == "file":
            digest.update(self.data)
        else:
            said = f"{self.title}\0{self.text}" if self.source == "text" else str(self.url)
            digest.update(said.encode())
        return digest.digest()


def in_json(request: DocumentCreate) -> Submission:
    if request.url is not None:
        return Submission("url", title=request.title, url=request.url)
    return Submission("text", title=request.title, text=request.text)


def default_title(file_name: str | None, url: str | None) -> str:
    """What a document is called that has no name: its file's, without the ending, or its address's last part."""
    if file_name is not None:
        return PurePosixPath(file_name).stem.strip() or file_name
    parts = urlsplit(url or "")
    last = PurePosixPath(unquote(parts.path)).name
    return safe_name(last) or safe_name(parts.hostname or "") or "Document"


def safe_name(name: str) -> str:
    """A file's name as it may be kept and shown: no folders, on one line, not too long; "" if nothing is left."""
    last = PurePosixPath(PureWindowsPath(name).name).name
    shown = " ".join("".join(character if character.isprintable() else " " for character in last).split())
    if len(shown) > LONGEST_NAME:
        stem, dot, ending = shown.rpartition(".")
        shown = stem[: LONGEST_NAME - 12] + dot + ending[:11] if dot else shown[:LONGEST_NAME]
    return storable(shown) if shown.isprintable() else ""
