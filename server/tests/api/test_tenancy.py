"""Tenancy: to a stranger nothing of another's workspace exists, whichever way they ask."""

import pytest

from tests.factories.agents import agent_body
from tests.factories.discussions import discussion_body, seats
from tests.fixtures.problems import problem
from tests.fixtures.routes import (
    ASKING_OTHERS,
    LOOKING,
    OF_ONE_THING,
    OF_ONESELF,
    OF_THE_INSTALLATION,
    PROTECTED,
    SHARED,
)
from tests.fixtures.things import call

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("method", "path"), OF_ONE_THING)
async def test_a_stranger_finds_nothing_and_changes_nothing(owner, stranger, things, rows_of, method, path):
    before = rows_of(owner)

    problem(await call(stranger.http, method, path, things), 404, "not_found")

    assert rows_of(owner) == before


@pytest.mark.parametrize(("method", "path"), OF_ONE_THING)
async def test_the_owner_is_let_in_by_the_same_request(client, things, method, path):
    response = await call(client, method, path, things, headers={"Accept": "application/json"})

    assert response.status_code < 300 or (response.status_code == 424 and path in ASKING_OTHERS), response.text


@pytest.mark.parametrize(("method", "path"), [route for route in PROTECTED if route[1] in OF_THE_INSTALLATION])
async def test_who_owns_a_workspace_does_not_administer_the_installation(client, owner, things, rows_of, method, path):
    before = rows_of(owner)

    problem(await call(client, method, path, things), 403, "forbidden")

    assert rows_of(owner) == before


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_without_a_token_nobody_is_let_in(anonymous, owner, things, rows_of, method, path):
    before = rows_of(owner)

    response = await call(anonymous, method, path, things)

    problem(response, 401, "unauthenticated")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert rows_of(owner) == before


@pytest.mark.parametrize(
    ("method", "path"), [route for route in PROTECTED if route[1] not in OF_ONESELF | OF_THE_INSTALLATION]
)
async def test_a_workspace_of_others_cannot_be_named(stranger, owner, things, rows_of, method, path):
    before = rows_of(owner)

    response = await call(stranger.http, method, path, things, headers={"X-Workspace-ID": owner.workspace_id})

    problem(response, 404, "not_found")
    assert rows_of(owner) == before


async def test_a_workspace_that_is_no_id_is_refused(client):
    problem(await client.get("/api/v1/agents", headers={"X-Workspace-ID": "mine"}), 422, "validation_failed")


async def test_ones_own_workspace_can_be_named(client, owner, things):
    named = (await client.get("/api/v1/agents", headers={"X-Workspace-ID": owner.workspace_id})).json()

    assert named == (await client.get("/api/v1/agents")).json()
    assert {things["agent_id"], things["newcomer_id"]} <= {agent["id"] for agent in named["items"]}


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/agents",
        "/api/v1/discussions",
        "/api/v1/knowledge/bases",
        "/api/v1/ai/providers",
        "/api/v1/ai/tool-servers",
    ],
)
async def test_a_strangers_lists_are_empty(client, stranger, things, path):
    assert (await client.get(path)).json()["items"]

    assert (await stranger.http.get(path)).json() == {"items": [], "next_cursor": None}


async def test_anothers_agents_people_and_documents_cannot_be_brought_to_ones_own_table(
    stranger, owner, make_agent, things, rows_of
):
    own = await make_agent(by=stranger)
    before = rows_of(stranger)
    attempts = [
        (discussion_body(participants=[{"agent_id": things["agent_id"]}]), "agent_not_found"),
        (discussion_body(participants=[{"user_id": owner.id}]), "user_not_found"),
        (discussion_body(participants=seats(own), document_ids=[things["document_id"]]), "document_not_found"),
    ]

    for body, code in attempts:
        problem(await stranger.http.post("/api/v1/discussions", json=body), 404, code)

    assert rows_of(stranger) == before


async def test_anothers_knowledge_cannot_be_given_to_ones_own_agent(stranger, things, rows_of):
    before = rows_of(stranger)

    body = agent_body(knowledge_base_ids=[things["base_id"]])

    problem(await stranger.http.post("/api/v1/agents", json=body), 404, "knowledge_base_not_found")
    assert rows_of(stranger) == before


@pytest.mark.parametrize(("method", "path"), [one for one in SHARED if one[0] != "get" and one[1] not in LOOKING])
async def test_who_may_only_look_is_forbidden_to_change(colleague, owner, things, rows_of, method, path):
    viewer = await colleague("viewer")
    before = rows_of(owner)

    problem(await call(viewer.http, method, path, things), 403, "forbidden")

    assert rows_of(owner) == before


FOR_ADMINS = {
    *(f"/api/v1/workspaces/{{workspace_id}}/{of_it}" for of_it in ("audit", "audit/export")),
    "/api/v1/ai/providers/{provider_id}",
    "/api/v1/ai/tool-servers/{tool_server_id}",
}


@pytest.mark.parametrize("path", sorted(FOR_ADMINS))
async def test_who_may_only_look_does_not_see_who_did_what(colleague, things, path):
    viewer = await colleague("viewer")

    problem(await call(viewer.http, "get", path, things), 403, "forbidden")


@pytest.mark.parametrize(
    ("method", "path"), [one for one in SHARED if (one[0] == "get" and one[1] not in FOR_ADMINS) or one[1] in LOOKING]
)
async def test_who_may_only_look_may_look(colleague, things, method, path):
    viewer = await colleague("viewer")

    response = await call(viewer.http, method, path, things, headers={"Accept": "application/json"})

    assert response.status_code == 200


@pytest.mark.parametrize(("role", "status"), [("member", 403), ("moderator", 200), ("admin", 200)])
async def test_only_a_moderator_controls_what_others_began(colleague, things, role, status):
    person = await colleague(role)

    response = await person.http.post(f"/api/v1/discussions/{things['discussion_id']}/stop")

    assert response.status_code == status
