"""Members: who may make whom what, and that it counts at once."""

import asyncio
from uuid import uuid4

import pytest

from app.domain.discussion import Status
from app.domain.permissions import Role
from app.services import members
from tests.fixtures.deadlines import eventually
from tests.fixtures.people import PASSWORD
from tests.fixtures.problems import problem
from tests.fixtures.socket import channel_of, socket_of

pytestmark = pytest.mark.anyio

REST_SECONDS = 1.5


@pytest.fixture
def address(owner):
    return f"/api/v1/workspaces/{owner.workspace_id}/members"


@pytest.fixture
def roles(owner, sql):
    """What each member of the owner's workspace is."""
    statement = "SELECT user_id::text, role FROM memberships WHERE workspace_id = %s"
    return lambda: dict(sql(statement, owner.workspace_id))


async def test_an_admin_adds_changes_and_removes_members(address, colleague, make_user, roles):
    admin, newcomer = await colleague("admin"), await make_user("Grace Hopper")
    place = f"{address}/{newcomer.id}"

    added = await admin.http.put(place, json={"role": "viewer"})
    assert (added.status_code, added.json()["role"], added.json()["display_name"]) == (200, "viewer", "Grace Hopper")
    assert roles()[newcomer.id] == "viewer"
    await admin.http.put(place, json={"role": "moderator"})
    assert roles()[newcomer.id] == "moderator"
    assert (await admin.http.delete(place)).status_code == 204
    assert newcomer.id not in roles()
    problem(await admin.http.delete(place), 404, "user_not_found")


async def test_who_was_added_gets_in_at_once(address, client, owner, stranger):
    there = {"X-Workspace-ID": owner.workspace_id}
    problem(await stranger.http.get("/api/v1/agents", headers=there), 404, "not_found")

    await client.put(f"{address}/{stranger.id}", json={"role": "viewer"})

    assert (await stranger.http.get("/api/v1/agents", headers=there)).status_code == 200


@pytest.mark.parametrize("by_token", [False, True])
@pytest.mark.parametrize("place", ["discussions/{}/events", "notifications"])
async def test_who_was_added_follows_at_once(
    address, client, owner, stranger, anonymous, make_discussion, place, by_token
):
    live = f"/api/v1/{place.format((await make_discussion(status=Status.DRAFT)).id)}"
    token = (await stranger.http.post("/api/v1/auth/stream-token")).json()["token"]
    http, query = (anonymous, {"stream_token": token}) if by_token else (stranger.http, {})
    there = {"Accept": "text/event-stream", "X-Workspace-ID": owner.workspace_id}
    problem(await http.get(live, params=query, headers=there), 404, "not_found")

    await client.put(f"{address}/{stranger.id}", json={"role": "viewer"})

    async with http.stream("GET", live, params=query, headers=there) as stream:
        assert stream.status_code == 200


async def test_who_was_added_subscribes_at_once(address, client, stranger, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)
    async with socket_of(stranger) as socket:
        refused = await socket.answer_to({"type": "subscribe", "channel": channel_of(draft)})
        assert refused["code"] == "not_found"

        await client.put(f"{address}/{stranger.id}", json={"role": "viewer"})

        await socket.subscribe(draft)


async def test_a_colleague_is_added_by_address_in_whatever_case(address, client, stranger, roles):
    added = await client.post(address, json={"email": stranger.email.upper(), "role": "member"})

    assert (added.status_code, added.json()["user_id"], added.json()["email"]) == (201, stranger.id, stranger.email)
    assert roles()[stranger.id] == "member"


async def test_unknown_and_disabled_people_are_the_same_to_whoever_asks(address, client, make_user, roles, sql):
    disabled = await make_user("Grace Hopper")
    sql("UPDATE users SET disabled_at = now() WHERE id = %s", disabled.id)
    before = roles()

    for email in ("nobody@arena.example", disabled.email):
        problem(await client.post(address, json={"email": email, "role": "member"}), 404, "user_not_found")
    for user_id in (uuid4(), disabled.id):
        problem(await client.put(f"{address}/{user_id}", json={"role": "member"}), 404, "user_not_found")

    assert roles() == before


async def test_addresses_cannot_be_tried_one_after_another(address, client, stranger, monkeypatch):
    monkeypatch.setattr(members, "MOST_UNKNOWN", 3)
    for number in range(3):
        body = {"email": f"nobody-{number}@arena.example", "role": "member"}
        problem(await client.post(address, json=body), 404, "user_not_found")

    refused = await client.post(address, json={"email": stranger.email, "role": "member"})

    problem(refused, 429, "too_many_unknown_addresses")
    assert int(refused.headers["Retry-After"]) > 0


async def test_addresses_are_shown_to_those_who_manage_members_only(address, client, make_user, owner):
    viewer = await make_user("Charles Babbage")
    await client.post(address, json={"email": viewer.email, "role": "viewer"})
    viewer.http.headers["X-Workspace-ID"] = owner.workspace_id

    for_admins = (await client.get(address)).json()["items"]
    for_others = (await viewer.http.get(address)).json()["items"]

    assert [(one["user_id"], one["role"]) for one in for_admins] == [(owner.id, "owner"), (viewer.id, "viewer")]
    assert [one["email"] for one in for_admins] == [owner.email, viewer.email]
    assert for_others == [{**one, "email": None} for one in for_admins]


async def test_an_id_is_not_enough_to_learn_an_address(client, owner, colleague):
    """A colleague's id is on every message; a workspace of one's own is made in a moment."""
    nosy, victim = await colleague("viewer"), await colleague("member", "Grace Hopper")
    mine = await nosy.http.post("/api/v1/workspaces", json={"name": "Mine"})
    there = f"/api/v1/workspaces/{mine.json()['id']}/members"

    async def shown():
        return {one["user_id"]: one["email"] for one in (await nosy.http.get(there)).json()["items"]}

    for role in ("viewer", "admin"):
        added = await nosy.http.put(f"{there}/{victim.id}", json={"role": role})
        assert (added.status_code, added.json()["email"]) == (200, None)
        assert await shown() == {nosy.id: nosy.email, victim.id: None}
    victim.http.headers.pop("X-Workspace-ID")
    own = (await victim.http.get(there)).json()["items"]
    assert {one["user_id"]: one["email"] for one in own} == {nosy.id: nosy.email, victim.id: victim.email}

    named = await nosy.http.post(there, json={"email": victim.email, "role": "admin"})
    assert named.json()["email"] == victim.email
    changed = await nosy.http.put(f"{there}/{victim.id}", json={"role": "member"})
    assert changed.json()["email"] == victim.email
    assert await shown() == {nosy.id: nosy.email, victim.id: victim.email}

    moved = await victim.http.patch("/api/v1/auth/me", json={"email": "new@arena.example", "password": PASSWORD})
    assert moved.status_code == 200
    assert await shown() == {nosy.id: nosy.email, victim.id: None}


async def test_members_come_a_page_at_a_time(address, client, colleague, owner):
    people = [owner.id, *[(await colleague("viewer", f"Number {number}")).id for number in range(3)]]

    first = (await client.get(address, params={"limit": 3})).json()
    rest = (await client.get(address, params={"limit": 3, "cursor": first["next_cursor"]})).json()

    assert [one["user_id"] for one in first["items"] + rest["items"]] == people
    assert rest["next_cursor"] is None


async def test_the_header_plays_no_part(address, owner, colleague):
    viewer = await colleague("viewer")
    viewer.http.headers["X-Workspace-ID"] = viewer.workspace_id

    problem(await viewer.http.put(f"{address}/{viewer.id}", json={"role": "owner"}), 403, "forbidden")
    own = f"/api/v1/workspaces/{viewer.workspace_id}/members"
    viewer.http.headers["X-Workspace-ID"] = owner.workspace_id
    assert (await viewer.http.put(f"{own}/{owner.id}", json={"role": "viewer"})).status_code == 200


@pytest.mark.parametrize("role", list(Role)[:-1])
async def test_nobody_gives_a_role_above_their_own(address, colleague, make_user, roles, role):
    person, other = await colleague(role), await make_user("Grace Hopper")
    before = roles()

    for target in (person.id, other.id):
        answer = await person.http.put(f"{address}/{target}", json={"role": "owner"})
        problem(answer, 403, "role_above_own" if role == "admin" else "forbidden")
    by_address = await person.http.post(address, json={"email": other.email, "role": "owner"})
    problem(by_address, 403, "role_above_own" if role == "admin" else "forbidden")

    assert roles() == before


async def test_only_owners_unmake_owners(address, client, colleague, owner, roles):
    admin, second = await colleague("admin"), await colleague("owner", "Grace Hopper")
    before = roles()

    problem(await admin.http.put(f"{address}/{second.id}", json={"role": "viewer"}), 403, "role_above_own")
    problem(await admin.http.delete(f"{address}/{second.id}"), 403, "role_above_own")
    assert roles() == before

    assert (await client.put(f"{address}/{second.id}", json={"role": "viewer"})).status_code == 200
    assert roles()[second.id] == "viewer"


async def test_a_personal_workspace_stays_its_persons(address, client, colleague, owner, roles):
    second = await colleague("owner", "Grace Hopper")
    before = roles()

    for http in (client, second.http):
        problem(await http.delete(f"{address}/{owner.id}"), 409, "personal_workspace")
        problem(await http.put(f"{address}/{owner.id}", json={"role": "admin"}), 409, "personal_workspace")

    assert roles() == before


async def test_the_last_owner_neither_leaves_nor_steps_down(client, owner, stranger, sql):
    shared = (await client.post("/api/v1/workspaces", json={"name": "Shared"})).json()["id"]
    address = f"/api/v1/workspaces/{shared}/members"
    await client.put(f"{address}/{stranger.id}", json={"role": "admin"})

    problem(await client.delete(f"{address}/{owner.id}"), 409, "last_owner")
    problem(await client.put(f"{address}/{owner.id}", json={"role": "admin"}), 409, "last_owner")

    await client.put(f"{address}/{stranger.id}", json={"role": "owner"})
    assert (await client.delete(f"{address}/{owner.id}")).status_code == 204
    assert sql("SELECT user_id::text, role FROM memberships WHERE workspace_id = %s", shared) == [
        (stranger.id, "owner")
    ]


@pytest.mark.parametrize("role", list(Role)[:-1])
async def test_anybody_may_leave(address, colleague, owner, roles, role):
    person = await colleague(role)

    assert (await person.http.delete(f"{address}/{person.id}")).status_code == 204

    assert roles() == {owner.id: "owner"}


@pytest.mark.parametrize("role", ["viewer", "member", "moderator"])
async def test_who_is_no_admin_removes_nobody_else(address, colleague, owner, roles, role):
    person, other = await colleague(role), await colleague("viewer", "Grace Hopper")
    before = roles()

    problem(await person.http.delete(f"{address}/{other.id}"), 403, "forbidden")

    assert roles() == before


async def test_a_change_of_role_counts_within_a_second(address, client, colleague):
    person = await colleague("member")
    made = await person.http.post("/api/v1/knowledge/bases", json={"name": "Before"})
    assert made.status_code == 201

    await client.put(f"{address}/{person.id}", json={"role": "viewer"})

    async def is_refused():
        return (await person.http.post("/api/v1/knowledge/bases", json={"name": f"{uuid4()}"})).status_code == 403

    await eventually(is_refused, REST_SECONDS, "the change")
    await client.delete(f"{address}/{person.id}")

    async def is_out():
        return (await person.http.get("/api/v1/agents")).status_code == 404

    await eventually(is_out, REST_SECONDS, "the removal")


async def test_an_admin_who_was_one_a_moment_ago_gives_no_roles(address, client, colleague, make_user, roles):
    """What a process remembers of a role for a second is not what the roles of others are changed by."""
    admin, other = await colleague("admin"), await make_user("Grace Hopper")
    assert (await admin.http.get(address)).status_code == 200

    await client.put(f"{address}/{admin.id}", json={"role": "viewer"})
    refused = await admin.http.put(f"{address}/{other.id}", json={"role": "admin"})

    problem(refused, 403, "forbidden")
    assert other.id not in roles()


async def test_two_owners_who_leave_at_once_leave_one(client, owner, make_user, sql):
    for _ in range(5):
        second = await make_user("Grace Hopper")
        shared = (await client.post("/api/v1/workspaces", json={"name": "Shared"})).json()["id"]
        address = f"/api/v1/workspaces/{shared}/members"
        await client.put(f"{address}/{second.id}", json={"role": "owner"})

        answers = await asyncio.gather(
            client.delete(f"{address}/{owner.id}"), second.http.delete(f"{address}/{second.id}")
        )

        assert sorted(answer.status_code for answer in answers) == [204, 409]
        owners = sql("SELECT count(*) FROM memberships WHERE workspace_id = %s AND role = 'owner'", shared)
        assert owners == [(1,)]


async def test_two_owners_who_demote_each_other_at_once_leave_one(client, owner, make_user, sql):
    for _ in range(5):
        second = await make_user("Grace Hopper")
        shared = (await client.post("/api/v1/workspaces", json={"name": "Shared"})).json()["id"]
        address = f"/api/v1/workspaces/{shared}/members"
        await client.put(f"{address}/{second.id}", json={"role": "owner"})

        answers = await asyncio.gather(
            client.put(f"{address}/{second.id}", json={"role": "viewer"}),
            second.http.put(f"{address}/{owner.id}", json={"role": "viewer"}),
        )

        # Whoever came second was no owner any more.
        assert sorted(answer.status_code for answer in answers) == [200, 403]
        owners = sql("SELECT count(*) FROM memberships WHERE workspace_id = %s AND role = 'owner'", shared)
        assert owners == [(1,)]
