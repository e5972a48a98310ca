"""Agents of the workspace."""

from typing import Any

from arena_client.models import Agent, AgentParams
from arena_client.request import Listing, Request, change, fetch, listing, submit
from arena_client.wire import path, without_none


def create(
    name: str,
    *,
    model: str | None = None,
    persona: str = "",
    handle: str | None = None,
    params: AgentParams | None = None,
    **fields: Any,
) -> Request[Agent]:
    """Create an agent; `fields` are further ones of the contract, such as `kind` or `color`."""
    body = {"persona": persona} | without_none(name=name, model=model, handle=handle, params=params, **fields)
    return submit(Agent, "/agents", body)


def list_all(*, q: str | None = None, kind: str | None = None) -> Listing[Agent]:
    """All of them, newest first; `q` is looked for in names and handles."""
    return listing(Agent, "/agents", q=q, kind=kind)


def get(agent_id: str) -> Request[Agent]:
    """An agent as it is now."""
    return fetch(Agent, path("agents", agent_id))


def update(agent_id: str, *, expected_version: int | None = None, **fields: Any) -> Request[Agent]:
    """Change the fields given; with `expected_version`, only if the agent is still at that version."""
    return change(Agent, path("agents", agent_id), fields, expected_version)
