"""Mass assignment: nobody sets by a body what is not theirs to set, in any body that the API takes."""

from typing import Any
from uuid import uuid4

import pytest

from tests.factories.agents import agent_body
from tests.factories.discussions import discussion_body
from tests.fixtures.problems import problem
from tests.fixtures.routes import BODIES, DOCUMENT, SCHEMAS, filled, reachable

pytestmark = pytest.mark.anyio

CREATIONS: dict[str, dict[str, Any]] = {
    "/api/v1/auth/register": {
        "email": "mass@arena.example",
        "password": "seventeen purple elephants",
        "display_name": "Mass",
    },
    "/api/v1/agents": agent_body("Mass"),
    "/api/v1/discussions": discussion_body(participants=[{"agent_id": "{agent_id}"}], start=False),
    "/api/v1/knowledge/bases": {"name": "Mass"},
    "/api/v1/workspaces": {"name": "Mass"},
}
"""What makes something anew, and would be let through but for the field that is added."""
LONG_AGO = "2020-01-01T00:00:00Z"
PRIVILEGED = {
    **dict.fromkeys(("id", "user_id", "owner_id", "created_by", "workspace_id", "personal_of"), "{foreign}"),
    **dict.fromkeys(("created_at", "disabled_at", "deleted_at"), LONG_AGO),
    **{"role": "owner", "is_superuser": True, "password_hash": "x", "scopes": ["installation:manage"]},
    **{"version": 1, "epoch": 1, "status": "ended"},
}


def json_bodies() -> dict[tuple[str, str], str]:
    """The name of the model of each body that is JSON."""
    found = {}
    for path, operations in DOCUMENT.items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content:
                found[method, path] = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    return found


JSON_BODIES = json_bodies()


def test_every_model_inside_every_body_refuses_what_it_does_not_know():
    models = set().union(*(reachable({"$ref": f"#/{name}"}) for name in JSON_BODIES.values()))
    objects = {name for name in models if SCHEMAS[name].get("type") == "object"}

    assert len(objects) > len(set(JSON_BODIES.values()))
    lenient = {name for name in objects if SCHEMAS[name].get("additionalProperties") is not False}
    assert lenient == {"PluginConfig"}, "the rules of a policy that is a plug-in, which checks them itself"


@pytest.fixture
async def things(
    owner,
    make_agent,
    make_base,
    make_document,
    make_discussion,
    make_provider,
    make_tool_server,
    colleague,
    sql,
    client,
):
    sql("UPDATE users SET is_superuser = true WHERE id = %s", owner.id)
    base, agent = await make_base(), await make_agent()
    other = await colleague("viewer")
    told = await client.post(f"/api/v1/agents/{agent.id}/memories", json={"content": "Ada likes tea."})
    return {
        "memory_id": told.json()["id"],
        "workspace_id": owner.workspace_id,
        "provider_id": (await make_provider())["id"],
        "tool_server_id": (await make_tool_server())["id"],
        "user_id": other.id,
        "user_email": other.email,
        "new_email": "new@arena.example",
        "code": "000000",
        "base_id": base.id,
        "agent_id": agent.id,
        "newcomer_id": (await make_agent("Newcomer")).id,
        "document_id": (await make_document(base=base)).id,
        "discussion_id": (await make_discussion(start=False)).id,
    }


def body_of(method: str, path: str, things: dict[str, str]) -> dict[str, Any]:
    body = dict(CREATIONS.get(path) or BODIES.get((method, path)) or {})
    if "participants" in body:
        body["participants"] = [filled(seat, things) for seat in body["participants"]]
    filled_in = {name: value for name, value in body.items() if not isinstance(value, str)}
    return filled_in | (filled({name: value for name, value in body.items() if isinstance(value, str)}, things) or {})


@pytest.fixture
def everything(sql, owner, rows_of):
    """All that a body might have changed: the owner's workspace, accounts, workspaces and roles."""
    accounts = "SELECT u::text FROM users u UNION ALL SELECT w::text FROM workspaces w"
    roles = "SELECT m::text FROM memberships m"
    return lambda: (rows_of(owner), sorted(sql(f"{accounts} UNION ALL {roles}")))


@pytest.mark.parametrize(("method", "path"), JSON_BODIES)
async def test_mass_assignment_is_refused_and_changes_nothing(client, things, everything, method, path):
    known = SCHEMAS[JSON_BODIES[method, path]].get("properties", {})
    foreign, before = str(uuid4()), everything()
    body = body_of(method, path, things)

    for name, value in PRIVILEGED.items():
        if name in known:
            continue
        added = {name: foreign if value == "{foreign}" else value}
        response = await client.request(method, path.format(**things), json=body | added)
        faults = problem(response, 422, "validation_failed")["errors"]
        assert ["body", name] in [fault["loc"] for fault in faults], (name, faults)

    assert everything() == before
