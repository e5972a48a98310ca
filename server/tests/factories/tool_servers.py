"""Servers of tools."""

from typing import Any

import pytest

from tests.fixtures.people import Person

TOKEN = "a token that is nobody else's"
NOWHERE = "http://127.0.0.1:1/mcp"


@pytest.fixture
def make_tool_server(owner):
    """Add a server of tools, where nobody answers unless a url is given."""

    async def make(name: str = "weather", *, by: Person = owner, **changes: Any) -> dict[str, Any]:
        body = {"name": name, "transport": "http", "url": NOWHERE, "token": TOKEN, **changes}
        response = await by.http.post("/api/v1/ai/tool-servers", json=body)
        assert response.status_code == 201, response.text
        return response.json()

    return make
