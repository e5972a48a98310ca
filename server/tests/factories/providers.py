"""Providers of language models."""

from typing import Any

import pytest

from tests.fixtures.people import Person

PROVIDER_KEY = "sk-0123456789abcdefWXYZ"


@pytest.fixture
def make_provider(owner):
    """Add a provider."""

    async def make(name: str = "Claude", *, by: Person = owner, **changes: Any) -> dict[str, Any]:
        body = {"name": name, "kind": "anthropic", "api_key": PROVIDER_KEY, **changes}
        response = await by.http.post("/api/v1/ai/providers", json=body)
        assert response.status_code == 201, response.text
        return response.json()

    return make
