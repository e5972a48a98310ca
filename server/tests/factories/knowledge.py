"""Knowledge bases and documents."""

from typing import Any

import httpx2
import pytest

from tests.factories.agents import Record
from tests.fixtures.deadlines import eventually
from tests.fixtures.people import Person


@pytest.fixture
def make_base(owner):
    """Create a knowledge base."""

    async def make(name: str = "Memos", *, by: Person = owner, **changes: Any) -> Record:
        response = await by.http.post("/api/v1/knowledge/bases", json={"name": name, **changes})
        assert response.status_code == 201, response.text
        return Record(response.json())

    return make


async def taken_in(http: httpx2.AsyncClient, document_id: str, seconds: float = 60) -> dict[str, Any]:
    """The document when the work on it has ended, one way or the other."""
    found: dict[str, Any] = {}

    async def has_ended() -> bool:
        response = await http.get(f"/api/v1/knowledge/documents/{document_id}")
        assert response.status_code == 200, response.text
        found.update(response.json())
        return found["status"] in {"ready", "failed"}

    await eventually(has_ended, seconds, f"the end of work on {document_id}")
    return found


async def extracted(http: httpx2.AsyncClient, extraction_id: str, seconds: float = 60) -> dict[str, Any]:
    """The extraction when the work on it has ended, one way or the other."""
    found: dict[str, Any] = {}

    async def has_ended() -> bool:
        response = await http.get(f"/api/v1/knowledge/extractions/{extraction_id}")
        assert response.status_code == 200, response.text
        found.update(response.json())
        return found["status"] not in {"queued", "processing"}

    await eventually(has_ended, seconds, f"the end of work on {extraction_id}")
    return found


@pytest.fixture
def make_document(make_base, owner):
    """Add a document, to a base of its own unless one is given, and by default wait until it is taken in."""

    async def make(
        title: str = "Memo",
        text: str = "We spend 40% on rent.",
        *,
        base: Record | None = None,
        by: Person = owner,
        wait: bool = True,
    ) -> Record:
        base = base or await make_base(f"Base of {title}", by=by)
        address = f"/api/v1/knowledge/bases/{base.id}/documents"
        response = await by.http.post(address, json={"title": title, "text": text})
        assert response.status_code == 202, response.text
        document = response.json()
        if wait:
            document = await taken_in(by.http, document["id"])
            assert document["status"] == "ready", document
            del document["text"], document["page_starts"]
        return Record(document)

    return make


@pytest.fixture
def upload(client):
    """Send a file to a base, and by default wait until the work on it has ended."""

    async def send(
        base: Record, name: str, data: bytes, *, title: str | None = None, wait: bool = True
    ) -> dict[str, Any]:
        fields = {} if title is None else {"title": title}
        address = f"/api/v1/knowledge/bases/{base.id}/documents"
        response = await client.post(address, files={"file": (name, data)}, data=fields)
        assert response.status_code == 202, response.text
        return await taken_in(client, response.json()["id"]) if wait else response.json()

    return send
