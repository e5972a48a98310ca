"""Agents, as requests and as they come to be."""

from typing import Any

import pytest

from tests.fixtures.people import Person


class Record(dict[str, Any]):
    """What the API answered, with its fields as attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def agent_body(name: str = "Skeptic", **changes: Any) -> dict[str, Any]:
    """A request for an agent whose model answers eight words at once."""
    return {
        "name": name,
        "kind": "llm",
        "persona": f"You are {name} and doubt every claim.",
        "model": "openai/fake?tokens=8",
        "params": {"temperature": 0.7, "max_tokens": 200},
        **changes,
    }


@pytest.fixture
def make_agent(owner):
    """Create an agent, in the owner's workspace unless told otherwise."""

    async def make(name: str = "Skeptic", *, by: Person = owner, **changes: Any) -> Record:
        response = await by.http.post("/api/v1/agents", json=agent_body(name, **changes))
        assert response.status_code == 201, response.text
        return Record(response.json())

    return make
