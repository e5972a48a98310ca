"""Knowledge bases and their documents."""

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


def list_documents(base_id: str) -> Listing[Document]:
    """All of them, newest first, without their text."""
    return listing(Document, path("knowledge", "bases", base_id, "documents"))


def get_document(document_id: str) -> Request[Document]:
    """A document with its text."""
    return fetch(Document, path("knowledge", "documents", document_id))
