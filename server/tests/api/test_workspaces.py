"""Workspaces: make, show, change, and delete with all that is in them."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from app.domain.discussion import Status
from app.services import workspaces
from tests.factories.discussions import ENDLESS
from tests.fixtures.deadlines import eventually
from tests.fixtures.problems import problem
from tests.fixtures.socket import socket_of

pytestmark = pytest.mark.anyio

ADDRESS = "/api/v1/workspaces"
LIVE = {"Accept": "text/event-stream"}
PROMISED_SECONDS = 2.0


@pytest.fixture
def make_workspace(client):
    async def make(name="Research", http=client):
        response = await http.post(ADDRESS, json={"name": name})
        assert response.status_code == 201, response.text
        assert response.headers["Location"] == f"{ADDRESS}/{response.json()['id']}"
        return response.json()

    return make


@pytest.fixture
async def shared(make_workspace, client):
    """A workspace that is nobody's personal one, in which the owner speaks from now on."""
    workspace = await make_workspace()
    client.headers["X-Workspace-ID"] = workspace["id"]
    return workspace


async def test_who_makes_a_workspace_owns_it_and_uses_it_at_once(client, make_workspace, make_agent):
    workspace = await make_workspace("Research")

    assert (workspace["name"], workspace["role"], workspace["is_personal"]) == ("Research", "owner", False)
    assert workspace["limits"] == {"requests_per_minute": None, "tokens_per_day": None, "usd_per_day": None}
    there = {"X-Workspace-ID": workspace["id"]}
    assert (await client.get("/api/v1/agents", headers=there)).json()["items"] == []
    assert (await client.get(f"{ADDRESS}/{workspace['id']}")).json() == workspace
    me = (await client.get("/api/v1/auth/me")).json()
    assert [one["name"] for one in me["workspaces"]] == ["Ada Byron's workspace", "Research"]


async def test_the_list_shows_ones_own_workspaces_newest_first_a_page_at_a_time(
    client, owner, make_workspace, stranger
):
    made = [(await make_workspace(f"Number {number}"))["id"] for number in range(3)]

    first = (await client.get(ADDRESS, params={"limit": 2})).json()
    rest = (await client.get(ADDRESS, params={"limit": 2, "cursor": first["next_cursor"]})).json()

    assert [one["id"] for one in first["items"] + rest["items"]] == [*reversed(made), owner.workspace_id]
    assert rest["next_cursor"] is None
    assert [one["is_personal"] for one in rest["items"]] == [False, True]
    assert [one["id"] for one in (await stranger.http.get(ADDRESS)).json()["items"]] == [stranger.workspace_id]
    problem(await client.get(ADDRESS, params={"cursor": "x"}), 422, "bad_cursor")


async def test_nobody_owns_more_workspaces_than_one_may(client, make_workspace, monkeypatch):
    monkeypatch.setattr(workspaces, "MOST_OWNED", 3)
    await make_workspace()
    await make_workspace()

    problem(await client.post(ADDRESS, json={"name": "One more"}), 409, "too_many_workspaces")


async def test_two_at_once_do_not_own_more_than_one_may(client, make_workspace, monkeypatch):
    monkeypatch.setattr(workspaces, "MOST_OWNED", 3)
    await make_workspace()

    answers = await asyncio.gather(*(client.post(ADDRESS, json={"name": "The last"}) for _ in range(4)))

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


async def test_an_admin_renames_the_workspace_and_sets_limits_by_field(client, colleague, owner):
    admin = await colleague("admin")
    address = f"{ADDRESS}/{owner.workspace_id}"

    await admin.http.patch(address, json={"limits": {"tokens_per_day": 5000, "requests_per_minute": 60}})
    changed = await admin.http.patch(address, json={"name": "Ours", "limits": {"tokens_per_day": None}})

    assert changed.status_code == 200, changed.text
    assert changed.json()["limits"] == {"requests_per_minute": 60, "tokens_per_day": None, "usd_per_day": None}
    assert (changed.json()["name"], changed.json()["role"]) == ("Ours", "admin")
    shown = (await client.get(address)).json()
    assert shown == {**changed.json(), "role": "owner"}


@pytest.mark.parametrize("role", ["viewer", "member", "moderator"])
async def test_whoever_is_no_admin_changes_nothing_of_it(colleague, owner, role, sql):
    person = await colleague(role)
    address = f"{ADDRESS}/{owner.workspace_id}"

    problem(await person.http.patch(address, json={"name": "Mine"}), 403, "forbidden")
    problem(await person.http.delete(address), 403, "forbidden")

    assert sql("SELECT name FROM workspaces WHERE id = %s", owner.workspace_id) == [("Ada Byron's workspace",)]


async def test_an_admin_does_not_delete_the_workspace(shared, client, make_user):
    admin = await make_user("Grace Hopper")
    await client.put(f"{ADDRESS}/{shared['id']}/members/{admin.id}", json={"role": "admin"})

    problem(await admin.http.delete(f"{ADDRESS}/{shared['id']}"), 403, "forbidden")


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": None},
        {"limits": None},
        {"limits": {"requests_per_minute": 0}},
        {"limits": {"tokens_per_day": -1}},
        {"limits": {"usd_per_day": 0}},
        {"limits": {"usd_per_day": "Infinity"}},
        {"limits": {"anything": 1}},
        {"personal_of": None},
    ],
)
async def test_a_change_that_makes_no_sense_is_refused(client, owner, body):
    problem(await client.patch(f"{ADDRESS}/{owner.workspace_id}", json=body), 422, "validation_failed")


async def test_a_limit_is_no_wider_than_the_installations(make_arena, owner, connect):
    place = make_arena(budgets={"workspace_tokens_per_day": 1000})
    http, address = await connect(owner.access_token, at=place), f"{ADDRESS}/{owner.workspace_id}"

    refused = problem(await http.patch(address, json={"limits": {"tokens_per_day": 1001}}), 422, "limit_too_wide")

    assert refused["errors"][0]["loc"] == ["body", "limits", "tokens_per_day"]
    assert (await http.patch(address, json={"limits": {"tokens_per_day": 1000}})).status_code == 200


async def test_a_personal_workspace_is_not_deleted(client, owner, make_agent):
    agent = await make_agent()

    problem(await client.delete(f"{ADDRESS}/{owner.workspace_id}"), 409, "personal_workspace")

    assert (await client.get(f"/api/v1/agents/{agent.id}")).status_code == 200


async def test_a_deleted_workspace_is_nobodys_at_once_and_gone_with_all_that_was_in_it(
    shared, client, make_agent, make_document, make_discussion, sql, make_user
):
    colleague = await make_user("Grace Hopper")
    await client.put(f"{ADDRESS}/{shared['id']}/members/{colleague.id}", json={"role": "viewer"})
    await make_document(base=None)
    talk = await make_discussion(status=Status.ENDED)
    await client.post(f"/api/v1/discussions/{talk.id}/fork", json={"start": False})

    assert (await client.delete(f"{ADDRESS}/{shared['id']}")).status_code == 204

    problem(await client.get(f"{ADDRESS}/{shared['id']}"), 404, "not_found")
    problem(await client.get(f"/api/v1/discussions/{talk.id}"), 404, "not_found")
    problem(await client.delete(f"{ADDRESS}/{shared['id']}"), 404, "not_found")
    tables = ("agents", "agent_versions", "knowledge_bases", "documents", "discussions", "participants", "messages")
    counted = " UNION ALL ".join(
        f"SELECT 1 FROM {table} WHERE workspace_id = %s"
        for table in (*tables, "turns", "discussion_events", "memberships")
    )
    everything = f"{counted} UNION ALL SELECT 1 FROM workspaces WHERE id = %s"
    await eventually(lambda: not sql(everything, *[shared["id"]] * 11), 10, "the clearing")
    await eventually(lambda: not sql("SELECT 1 FROM procrastinate_jobs WHERE task_name = 'clear_workspace'"), 5)


async def test_streams_and_running_discussions_of_a_deleted_workspace_end_without_a_trace(
    shared, owner, client, make_agent, make_discussion, sql
):
    """Its driver stops within seconds, is not put back, and nothing of it is an error."""
    busy = await make_discussion(agents=[await make_agent(model=ENDLESS, params={"max_tokens": 8000})])
    waiting = await make_discussion(status=Status.WAITING)

    async def read_to_its_end(http, address):
        async with http.stream("GET", address, headers=LIVE) as stream:
            assert stream.status_code == 200
            return b"".join([piece async for piece in stream.aiter_raw()])

    addresses = [*(f"/api/v1/discussions/{one.id}/events" for one in (busy, waiting)), "/api/v1/notifications"]
    async with AsyncExitStack() as stack, asyncio.timeout(15):
        socket = await stack.enter_async_context(socket_of(owner))
        await socket.subscribe(busy)
        reading = [asyncio.create_task(read_to_its_end(client, address)) for address in addresses]
        await socket.until_event(busy, lambda event: event.type == "message.delta")

        assert (await client.delete(f"{ADDRESS}/{shared['id']}")).status_code == 204

        async with asyncio.timeout(PROMISED_SECONDS):
            await asyncio.gather(*reading)
            await socket.until_error("not_found")
    del client.headers["X-Workspace-ID"]
    drivers = "SELECT 1 FROM procrastinate_jobs WHERE args ->> 'discussion_id' = ANY(%s)"
    await eventually(lambda: not sql(drivers, [busy.id, waiting.id]), 10, "the drivers' end")
    assert sql("SELECT 1 FROM discussions WHERE workspace_id = %s", shared["id"]) == []


async def test_a_workspace_that_goes_while_it_is_written_into_is_unknown_and_no_error(shared, client, sql):
    """Whoever was let in a moment before finds it gone."""
    body = {"name": "Memos"}

    async def write(number):
        return await client.post("/api/v1/knowledge/bases", json=body | {"name": f"Memos {number}"})

    deleted, *written = await asyncio.gather(
        client.delete(f"{ADDRESS}/{shared['id']}"), *(write(number) for number in range(20))
    )

    assert deleted.status_code == 204
    assert {answer.status_code for answer in written} <= {201, 404}
    await eventually(lambda: not sql("SELECT 1 FROM workspaces WHERE id = %s", shared["id"]), 10, "the clearing")
    assert sql("SELECT 1 FROM knowledge_bases WHERE workspace_id = %s", shared["id"]) == []
