"""Knowledge bases and their documents."""

from dataclasses import replace

from arena_client.models import Document, KnowledgeBase
from arena_client.request import Listing, Request, fetch, listing, submit
from arena_client.wire import path, without_none


def create_base(name: str, *, description: str | None = None) -> Request[KnowledgeBase]:
    """Make an empty one."""
    return submit(KnowledgeBase, "/knowledge/bases", without_none(name=name, description=description))


def list_bases() -> Listing[KnowledgeBase]:
    """All of them, newest first."""
    return listing(KnowledgeBase, "/knowledge/bases")


def add_document(base_id: str, title: str, text: str) -> Request[Document]:
    """Add plain or Markdown text."""
    return submit(Document, path("knowledge", "bases", base_id, "documents"), {"title": title, "text": text})


def add_file(base_id: str, data: bytes, file_name: str, *, title: str | None = None) -> Request[Document]:
    """Add a file of any kind that is read there; the same file again gives the document that is there."""
    where = path("knowledge", "bases", base_id, "documents")
    form = without_none(title=title)
    return replace(submit(Document, where), form=form, files={"file": (file_name, data)})


def add_url(base_id: str, url: str, *, title: str | None = None) -> Request[Document]:
    """Have a document fetched."""
    body = without_none(url=url, title=title)
    return submit(Document, path("knowledge", "bases", base_id, "documents"), body)


def list_documents(base_id: str) -> Listing[Document]:
    """All of them, newest first, without their text."""
    return listing(Document, path("knowledge", "bases", base_id, "documents"))


def get_document(document_id: str) -> Request[Document]:
    """A document with its text."""
    return fetch(Document, path("knowledge", "documents", document_id))
