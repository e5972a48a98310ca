"""Knowledge bases and documents."""

from typing import Any

import pytest

from tests.factories.agents import Record
from tests.fixtures.people import Person


@pytest.fixture
def make_base(owner):
    """Create a knowledge base."""

    async def make(name: str = "Memos", *, by: Person = owner, **changes: Any) -> Record:
        response = await by.http.post("/api/v1/knowledge/bases", json={"name": name, **changes})
        assert response.status_code == 201, response.text
        return Record(response.json())

    return make


@pytest.fixture
def make_document(make_base, owner):
    """Add a document, to a base of its own unless one is given."""

    async def make(
        title: str = "Memo", text: str = "We spend 40% on rent.", *, base: Record | None = None, by: Person = owner
    ) -> Record:
        base = base or await make_base(f"Base of {title}", by=by)
        address = f"/api/v1/knowledge/bases/{base.id}/documents"
        response = await by.http.post(address, json={"title": title, "text": text})
        assert response.status_code == 202, response.text
        return Record(response.json())

    return make
