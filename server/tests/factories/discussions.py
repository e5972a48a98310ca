"""Discussions in any state."""

from collections.abc import Sequence
from typing import Any

import pytest

from app.domain.discussion import Status
from tests.factories.agents import Record
from tests.fixtures.people import Person

ENDLESS = "openai/fake?endless&delay_ms=20"
"""A model that speaks until it is cut."""


def discussion_body(*, participants: Sequence[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """A request for a discussion of two turns."""
    return {
        "topic": "Should our team go remote?",
        "participants": list(participants),
        "limits": {"max_turns": 2},
        **changes,
    }


def seats(*agents: Record) -> list[dict[str, Any]]:
    return [{"agent_id": agent.id} for agent in agents]


@pytest.fixture
def make_discussion(owner, make_agent):
    """Open a discussion; `status` brings it into that state, `agents` are two quick ones unless given."""

    async def make(
        *, status: Status = Status.RUNNING, agents: Sequence[Record] = (), by: Person = owner, **changes: Any
    ) -> Record:
        if "participants" not in changes:
            table = agents or [await make_agent(name, by=by) for name in ("Skeptic", "Optimist")]
            human = [{"user_id": by.id}] if status == Status.WAITING else []
            changes["participants"] = [*human, *seats(*table)]
        body = discussion_body(**changes)
        if status in {Status.DRAFT, Status.ENDED}:
            body["start"] = False
        response = await by.http.post("/api/v1/discussions", json=body)
        assert response.status_code == 201, response.text
        if status == Status.ENDED:
            response = await by.http.post(f"/api/v1/discussions/{response.json()['id']}/stop")
        made = Record(response.json())
        assert made.status == status or status == Status.RUNNING
        return made

    return make
