"""`Idempotency-Key`: a POST that creates is done once, however often it is sent."""

import asyncio
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from fastapi.routing import iter_route_contexts

from app.domain.discussion import Status
from app.routes.idempotent import CREATED, CreatingRoute
from tests.factories.agents import agent_body
from tests.factories.discussions import discussion_body, seats
from tests.fixtures.deadlines import eventually
from tests.fixtures.people import PASSWORD
from tests.fixtures.problems import problem
from tests.fixtures.viewer import watching

pytestmark = pytest.mark.anyio

HEADER = "Idempotency-Key"
MOVING = {"messages", "discussion_events", "turns"}
"""What a discussion adds by itself."""


def keyed(key: str | None = None) -> dict[str, str]:
    return {HEADER: key or str(uuid4())}


@pytest.fixture
async def creations(client, make_agent, make_base, make_discussion):
    """A request for one of everything."""
    agent, newcomer = await make_agent(), await make_agent("Newcomer")
    base, discussion = await make_base(), await make_discussion(status=Status.WAITING, agents=[agent])
    place = f"/discussions/{discussion.id}"
    return {
        "agent": ("/agents", agent_body("Second")),
        "discussion": ("/discussions", discussion_body(participants=seats(agent))),
        "message": (f"{place}/messages", {"content": "Hello?"}),
        "seat": (f"{place}/participants", {"agent_id": newcomer.id}),
        "fork": (f"{place}/fork", {"title": "Another", "start": False}),
        "base": ("/knowledge/bases", {"name": "Papers"}),
        "document": (f"/knowledge/bases/{base.id}/documents", {"title": "Memo", "text": "Remote work."}),
    }


THINGS = ("agent", "discussion", "message", "seat", "fork", "base", "document")


@pytest.mark.parametrize("thing", THINGS)
async def test_the_same_request_is_done_once_and_answered_alike(client, owner, creations, rows_of, thing):
    path, body = creations[thing]
    headers = keyed()
    first = await client.post(f"/api/v1{path}", json=body, headers=headers)
    assert first.status_code in CREATED, first.text
    assert "Idempotency-Replayed" not in first.headers
    before = {table: len(rows) for table, rows in rows_of(owner).items() if table not in MOVING}
    said = [row for row in rows_of(owner)["messages"] if "Hello?" in row]

    again = await client.post(f"/api/v1{path}", json=body, headers=headers)

    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    for name in ("Location", "ETag", "Content-Type"):
        assert again.headers.get(name) == first.headers.get(name)
    assert {table: len(rows) for table, rows in rows_of(owner).items() if table not in MOVING} == before
    assert [row for row in rows_of(owner)["messages"] if "Hello?" in row] == said


async def test_a_registration_is_done_once(anonymous):
    body = {"email": f"{uuid4().hex}@arena.example", "password": PASSWORD, "display_name": "Ada"}
    headers = keyed()

    answers = [await anonymous.post("/api/v1/auth/register", json=body, headers=headers) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1


@pytest.mark.parametrize("thing", THINGS)
async def test_another_body_under_the_same_key_is_refused(client, owner, creations, rows_of, thing):
    path, body = creations[thing]
    headers = keyed()
    assert (await client.post(f"/api/v1{path}", json=body, headers=headers)).status_code in CREATED
    other = body | ({"content": "Other"} if thing == "message" else {"title": "Other"} if "title" in body else {})
    other = other if other != body else {**body, "name" if "name" in body else "agent_id": str(uuid4())}

    refused = await client.post(f"/api/v1{path}", json=other, headers=headers)

    problem(refused, 422, "idempotency_mismatch")


async def test_another_address_under_the_same_key_is_refused(client, creations):
    headers = keyed()
    await client.post("/api/v1/knowledge/bases", json={"name": "Papers"}, headers=headers)

    problem(await client.post("/api/v1/agents", json={"name": "Papers"}, headers=headers), 422, "idempotency_mismatch")


async def test_a_key_is_its_owners_alone(client, stranger):
    headers, body = keyed(), {"name": "Papers"}
    first = await client.post("/api/v1/knowledge/bases", json=body, headers=headers)

    other = await stranger.http.post("/api/v1/knowledge/bases", json=body, headers=headers)

    assert other.status_code == 201
    assert "Idempotency-Replayed" not in other.headers
    assert other.json()["id"] != first.json()["id"]


async def test_an_answer_is_not_given_to_who_may_not_ask_any_more(client, owner, colleague, sql):
    person, headers, body = await colleague("member"), keyed(), {"name": "Papers"}
    assert (await person.http.post("/api/v1/knowledge/bases", json=body, headers=headers)).status_code == 201
    sql("DELETE FROM memberships WHERE workspace_id = %s AND user_id = %s", owner.workspace_id, person.id)

    async def is_refused():
        return (await person.http.post("/api/v1/knowledge/bases", json=body, headers=headers)).status_code == 404

    await eventually(is_refused, 3)


async def test_an_answer_is_not_given_to_who_was_demoted_meanwhile(owner, stranger, colleague, make_discussion, sql):
    """Also where the workspace is that of the address, or a turn token would do."""
    person, talk = await colleague("admin"), await make_discussion(status=Status.WAITING)
    requests = {
        f"/workspaces/{owner.workspace_id}/members": {"email": stranger.email, "role": "viewer"},
        f"/discussions/{talk.id}/messages": {"content": "Hello?"},
    }
    headers = {path: keyed() for path in requests}
    for path, body in requests.items():
        sent = await person.http.post(f"/api/v1{path}", json=body, headers=headers[path])
        assert sent.status_code == 201, sent.text
    sql("UPDATE memberships SET role = 'viewer' WHERE user_id = %s", person.id)

    for path, body in requests.items():

        async def is_refused(path=path, body=body):
            return (await person.http.post(f"/api/v1{path}", json=body, headers=headers[path])).status_code == 403

        await eventually(is_refused, 3)


async def test_who_is_nobody_keeps_no_key_of_what_nobody_may_do(anonymous, sql):
    headers = keyed()

    problem(await anonymous.post("/api/v1/agents", json=agent_body(), headers=headers), 401, "unauthenticated")

    assert sql("SELECT 1 FROM idempotent_requests WHERE key = %s", headers[HEADER]) == []


async def test_what_failed_has_done_nothing_and_may_be_tried_again(client, make_agent):
    agent = await make_agent(handle="first")
    headers, body = keyed(), agent_body("Second", handle="first")
    problem(await client.post("/api/v1/agents", json=body, headers=headers), 409, "handle_taken")
    await client.delete(f"/api/v1/agents/{agent.id}")

    assert (await client.post("/api/v1/agents", json=body, headers=headers)).status_code == 201


async def test_a_body_that_is_refused_does_not_use_the_key_up(client):
    headers = keyed()
    problem(await client.post("/api/v1/knowledge/bases", json={}, headers=headers), 422, "validation_failed")

    assert (await client.post("/api/v1/knowledge/bases", json={"name": "P"}, headers=headers)).status_code == 201


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ümlaut"], ids=["empty", "two", "long", "other"])
async def test_what_is_no_key_is_refused(client, owner, rows_of, key):
    before = rows_of(owner)

    refused = await client.post("/api/v1/agents", json=agent_body(), headers={HEADER: key.encode()})

    problem(refused, 422, "bad_idempotency_key")
    assert rows_of(owner) == before


async def test_twenty_identical_requests_at_once_create_one_thing(client, owner, sql):
    headers, body = keyed(), {"name": "Papers"}

    answers = await asyncio.gather(
        *(client.post("/api/v1/knowledge/bases", json=body, headers=headers) for _ in range(20))
    )

    created = [answer for answer in answers if answer.status_code == 201]
    refused = [answer for answer in answers if answer.status_code != 201]
    assert len({answer.json()["id"] for answer in created}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in created) == 1
    for answer in refused:
        problem(answer, 409, "idempotency_in_progress")
        assert int(answer.headers["Retry-After"]) >= 1
    assert sql("SELECT count(*) FROM knowledge_bases WHERE workspace_id = %s", owner.workspace_id) == [(1,)]


@contextmanager
def agents_held_up(database, owner):
    """Whoever makes an agent without a handle there waits until the block ends."""
    lock = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
    with psycopg.connect(database) as connection, connection.transaction():
        connection.execute(lock, [f"handles of {owner.workspace_id}"])
        yield


async def test_while_it_runs_the_same_request_is_told_so(client, owner, shared_database, sql):
    headers, body = keyed(), agent_body()
    with agents_held_up(shared_database, owner):
        first = asyncio.create_task(client.post("/api/v1/agents", json=body, headers=headers))
        await _is_claimed(sql, owner)

        second = await client.post("/api/v1/agents", json=body, headers=headers)
        mismatched = await client.post("/api/v1/agents", json=agent_body("Other"), headers=headers)

    problem(second, 409, "idempotency_in_progress")
    problem(mismatched, 422, "idempotency_mismatch")
    assert (await first).status_code == 201


async def test_a_request_whose_claim_was_taken_over_commits_nothing(client, owner, shared_database, sql):
    """It was thought dead, and another has begun to do the same."""
    headers, body = keyed(), agent_body()
    with agents_held_up(shared_database, owner):
        first = asyncio.create_task(client.post("/api/v1/agents", json=body, headers=headers))
        await _is_claimed(sql, owner)
        sql("UPDATE idempotent_requests SET claim = %s WHERE owner_id = %s", uuid4(), owner.id)

    problem(await first, 409, "idempotency_in_progress")
    assert sql("SELECT count(*) FROM agents WHERE workspace_id = %s", owner.workspace_id) == [(0,)]


async def test_what_a_dead_process_had_claimed_is_done_once_its_claim_has_lapsed(client, owner, sql):
    headers, body = keyed(), agent_body()
    assert (await client.post("/api/v1/agents", json=body, headers=headers)).status_code == 201
    sql("UPDATE idempotent_requests SET status = NULL WHERE owner_id = %s", owner.id)
    problem(await client.post("/api/v1/agents", json=body, headers=headers), 409, "idempotency_in_progress")
    sql("UPDATE idempotent_requests SET claimed_until = now() - interval '1 s' WHERE owner_id = %s", owner.id)
    problem(await client.post("/api/v1/agents", json=agent_body("B"), headers=headers), 422, "idempotency_mismatch")

    assert (await client.post("/api/v1/agents", json=body, headers=headers)).status_code == 201


async def test_after_a_day_a_key_is_new_again_and_old_ones_are_swept_away(client, owner, sql):
    headers, body, aged = keyed(), {"name": "Papers"}, "now() - interval '25 hours'"
    assert (await client.post("/api/v1/knowledge/bases", json=body, headers=keyed())).status_code == 201
    assert (await client.post("/api/v1/knowledge/bases", json={"name": "B"}, headers=headers)).status_code == 201
    sql(f"UPDATE idempotent_requests SET created_at = {aged} WHERE owner_id = %s", owner.id)

    fresh = await client.post("/api/v1/knowledge/bases", json={"name": "C"}, headers=headers)

    assert fresh.status_code == 201
    assert "Idempotency-Replayed" not in fresh.headers
    assert sql("SELECT count(*) FROM idempotent_requests WHERE owner_id = %s", owner.id) == [(1,)]


async def test_answers_are_kept_sealed(client, owner, sql):
    secret = uuid4().hex
    await client.post("/api/v1/agents", json=agent_body(persona=secret), headers=keyed())

    [(row,)] = sql("SELECT r::text FROM idempotent_requests r WHERE owner_id = %s", owner.id)

    assert secret not in row
    assert secret.encode().hex() not in row


async def test_viewers_hear_at_once_of_what_was_said_with_a_key(client, make_discussion):
    discussion = await make_discussion(status=Status.WAITING)
    async with watching(client, discussion.id) as viewer:
        await viewer.until("discussion.waiting")
        posted = await client.post(
            f"/api/v1/discussions/{discussion.id}/messages", json={"content": "Said once"}, headers=keyed()
        )
        heard = await viewer.until("message.completed")

    assert heard.data["content"] == posted.json()["message"]["content"] == "Said once"


def test_every_post_that_creates_takes_a_key(app):
    creating = [
        route
        for route in iter_route_contexts(app.routes)
        if "POST" in (getattr(route, "methods", None) or ()) and getattr(route, "status_code", None) in CREATED
    ]

    assert len(creating) > 8
    assert [route.path for route in creating if not isinstance(route.original_route, CreatingRoute)] == []


async def _is_claimed(sql, owner):
    await eventually(lambda: sql("SELECT 1 FROM idempotent_requests WHERE owner_id = %s", owner.id), 5)


async def test_a_key_counts_in_a_workspace_that_one_came_to_a_moment_ago(client, owner, stranger, sql):
    """This process has just looked the newcomer up, and believes for a second what it found."""
    assert (await stranger.http.get("/api/v1/auth/me")).status_code == 200
    sql(
        "INSERT INTO memberships (workspace_id, user_id, role) VALUES (%s, %s, 'member')",
        *(owner.workspace_id, stranger.id),
    )
    headers = {**keyed(), "X-Workspace-ID": owner.workspace_id}

    answers = [await stranger.http.post("/api/v1/agents", json=agent_body(), headers=headers) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert len((await client.get("/api/v1/agents")).json()["items"]) == 1


async def test_strangers_keys_are_apart_by_what_they_ask_for(anonymous):
    """Two who know nothing of each other may choose the same key."""
    headers, email = keyed(), f"{uuid4()}@arena.example"
    body = {"email": email, "password": PASSWORD, "display_name": "Ada"}

    registered = await anonymous.post("/api/v1/auth/register", json=body, headers=headers)
    asked = await anonymous.post("/api/v1/auth/password-reset", json={"email": email}, headers=headers)

    assert (registered.status_code, asked.status_code) == (201, 202)
