"""The audit log: every deed once, in the deed's own transaction, with who did it and from where; and nothing else."""

import csv
import io
import json
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from app.core.ids import new_id
from app.domain.audit import AuditFilter, By
from app.domain.discussion import Status
from app.repositories import audit
from app.schemas.audit import ExportFormat
from app.services import audit as audit_service
from tests.fixtures.databases import rows
from tests.fixtures.people import PASSWORD, log_in
from tests.fixtures.problems import problem

pytestmark = pytest.mark.anyio

LOG = "/api/v1/admin/audit"


@pytest.fixture
def address(owner):
    return f"/api/v1/workspaces/{owner.workspace_id}/audit"


@pytest.fixture
def told(client, address):
    """(action, what it was done to) of the owner's workspace, oldest first."""

    async def read(**query):
        page = (await client.get(address, params={"limit": 200, **query})).json()
        return [(event["action"], event["target_id"]) for event in reversed(page["items"])]

    return read


async def test_the_life_of_a_discussion_is_told(client, make_discussion, told):
    waiting = await make_discussion(status=Status.WAITING)
    address = f"/api/v1/discussions/{waiting.id}"
    for command in ("pause", "resume", "interrupt", "resume", "stop"):
        (await client.post(f"{address}/{command}")).raise_for_status()
    fork = (await client.post(f"{address}/fork", json={"start": False})).json()["id"]
    (await client.post(f"/api/v1/discussions/{fork}/start")).raise_for_status()
    (await client.delete(address)).raise_for_status()

    done = ["created", "paused", "resumed", "interrupted", "resumed", "stopped"]
    assert await told() == [
        *((f"discussion.{what}", waiting.id) for what in done),
        ("discussion.forked", fork),
        ("discussion.started", fork),
        ("discussion.deleted", waiting.id),
    ]


async def test_what_is_deleted_is_told(client, make_agent, make_base, make_document, told):
    agent, base = await make_agent(), await make_base()
    document = await make_document(base=base)

    for path in (f"agents/{agent.id}", f"knowledge/documents/{document.id}", f"knowledge/bases/{base.id}"):
        assert (await client.delete(f"/api/v1/{path}")).status_code == 204

    assert await told() == [("agent.deleted", agent.id), ("document.deleted", document.id), ("base.deleted", base.id)]


async def test_roles_and_changes_of_a_workspace_are_told_with_what_they_were(client, owner, stranger, address):
    members = f"/api/v1/workspaces/{owner.workspace_id}/members"
    for role in ("viewer", "admin", "admin"):
        await client.put(f"{members}/{stranger.id}", json={"role": role})
    await client.delete(f"{members}/{stranger.id}")
    await client.patch(f"/api/v1/workspaces/{owner.workspace_id}", json={"name": "A secret name", "limits": {}})

    events = (await client.get(address)).json()["items"]

    assert [(event["action"], event["target_type"], event["detail"]) for event in reversed(events)] == [
        ("role.granted", "user", {"role": "viewer"}),
        ("role.changed", "user", {"role": "admin", "before": "viewer"}),
        ("role.revoked", "user", {"before": "admin"}),
        ("workspace.changed", "workspace", {"fields": ["limits", "name"]}),
    ]
    assert {event["user_id"] for event in events} == {owner.id}


async def test_a_deed_says_who_did_it_from_where_and_in_which_request(client, owner, make_agent, address, sql):
    agent = await make_agent()
    await client.delete(f"/api/v1/agents/{agent.id}", headers={"X-Request-ID": "the-request"})

    [event] = (await client.get(address)).json()["items"]

    [(session,)] = sql("SELECT id::text FROM sessions WHERE user_id = %s", owner.id)
    assert datetime.now(UTC) - datetime.fromisoformat(event.pop("created_at")) < timedelta(seconds=30)
    assert event.pop("id")
    assert event == {
        "action": "agent.deleted",
        "outcome": "succeeded",
        "user_id": owner.id,
        "credential_id": session,
        "workspace_id": owner.workspace_id,
        "target_type": "agent",
        "target_id": agent.id,
        "address": "127.0.0.1",
        "request_id": "the-request",
        "detail": {},
    }


async def test_what_was_refused_is_not_told_as_done(client, colleague, make_agent, make_discussion, told):
    viewer, agent = await colleague("viewer"), await make_agent()
    ended = await make_discussion(status=Status.ENDED)
    before = await told()

    problem(await viewer.http.delete(f"/api/v1/agents/{agent.id}"), 403, "forbidden")
    problem(await client.post(f"/api/v1/discussions/{ended.id}/resume"), 409, "illegal_transition")
    problem(await client.delete(f"/api/v1/agents/{uuid4()}"), 404, "not_found")

    assert await told() == before


async def test_what_changes_nothing_is_not_told(client, owner, admin, stranger, colleague, make_provider):
    provider, viewer = (await make_provider())["id"], await colleague("viewer")
    idle = [
        (client, "PATCH", f"ai/providers/{provider}", {}),
        (client, "PATCH", f"workspaces/{owner.workspace_id}", {}),
        (client, "PUT", f"workspaces/{owner.workspace_id}/members/{viewer.id}", {"role": "viewer"}),
        (client, "PATCH", "auth/me", {"display_name": "Ada Byron", "email": owner.email}),
        (client, "DELETE", "auth/sessions", None),
        (admin.http, "PATCH", f"admin/users/{stranger.id}", {"is_disabled": False, "is_superuser": False}),
    ]
    before = (await admin.http.get(LOG)).json()["items"]

    for http, method, path, body in idle:
        (await http.request(method, f"/api/v1/{path}", json=body)).raise_for_status()

    assert (await admin.http.get(LOG)).json()["items"] == before


@pytest.mark.usefixtures("every_failure_is_told")
async def test_logins_are_told_with_their_failures_and_never_with_what_was_typed(anonymous, owner, admin, client, sql):
    form = {"grant_type": "password", "username": owner.email, "password": "quite the wrong one"}
    problem(await anonymous.post("/api/v1/auth/token", data=form), 401, "invalid_grant")
    await log_in(anonymous, owner.email)
    await client.post("/api/v1/auth/logout")

    page = (await admin.http.get(LOG, params={"user_id": owner.id})).json()["items"]

    assert [(event["action"], event["outcome"], event["detail"]) for event in reversed(page)] == [
        ("user.created", "succeeded", {"is_superuser": False}),
        ("login.succeeded", "succeeded", {"method": "password"}),
        ("login.failed", "failed", {"reason": "wrong_password"}),
        ("login.succeeded", "succeeded", {"method": "password"}),
        ("session.ended", "succeeded", {"reason": "logged_out"}),
    ]
    kept = sql("SELECT string_agg(e::text, ' ') FROM audit_events e WHERE user_id = %s", owner.id)[0][0]
    assert not [word for word in (PASSWORD, "quite the wrong one", owner.email, "Ada") if word in kept]


async def test_the_reuse_of_a_refresh_token_is_told(anonymous, owner, admin):
    form = {"grant_type": "refresh_token", "refresh_token": owner.refresh_token}
    await anonymous.post("/api/v1/auth/token", data=form)
    problem(await anonymous.post("/api/v1/auth/token", data=form), 401, "invalid_grant")

    page = (await admin.http.get(LOG, params={"user_id": owner.id, "action": "session.ended"})).json()["items"]

    assert [event["detail"] for event in page] == [{"reason": "refresh_token_reused"}]


async def test_a_flood_of_failed_logins_does_not_fill_the_log(workerless, connect, make_user, monkeypatch):
    monkeypatch.setattr(audit, "MOST_FAILURES_ALIKE", 3)
    person = await make_user(at=workerless)
    url = workerless.settings.database.database_url.get_secret_value()
    visitor = await connect(at=workerless)

    for username in (*[person.email] * 5, "nobody@arena.example"):
        form = {"grant_type": "password", "username": username, "password": "wrong"}
        problem(await visitor.post("/api/v1/auth/token", data=form), 401, "invalid_grant")

    told = rows(url, "SELECT detail FROM audit_events WHERE action = 'login.failed' ORDER BY id")
    wrong = {"reason": "wrong_password"}
    assert told == [(wrong,), (wrong,), ({**wrong, "more_go_unrecorded": True},)]


async def test_the_log_is_read_by_pages_and_filters(client, owner, address, make_agent, told, colleague, admin):
    agents = [await make_agent(f"Number {number}") for number in range(3)]
    other = await colleague("admin")
    for agent, http in zip(agents, (client, client, other.http), strict=True):
        await http.delete(f"/api/v1/agents/{agent.id}")
    first = (await client.get(address, params={"limit": 2})).json()
    rest = (await client.get(address, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    events = [*first["items"], *rest["items"]]
    assert [event["target_id"] for event in events] == [agent.id for agent in reversed(agents)]
    assert rest["next_cursor"] is None

    ids = [agent.id for agent in agents]
    second = events[1]["created_at"]
    asked = [
        ({"user_id": other.id}, ids[2:]),
        ({"action": "agent.deleted"}, ids),
        ({"action": "base.deleted"}, []),
        ({"since": second}, ids[1:]),
        ({"until": second}, ids[:1]),
        ({"since": "9999-12-31T23:59:59.999999Z"}, []),
        ({"until": "9999-12-31T23:59:59.999999-12:00", "since": "0001-01-01T00:00:00+12:00"}, ids),
    ]
    for query, wanted in asked:
        assert [target for _, target in await told(**query)] == wanted, query
        everywhere = await admin.http.get(LOG, params={**query, "workspace_id": owner.workspace_id})
        assert [event["target_id"] for event in reversed(everywhere.json()["items"])] == wanted, query
    for query in ({"action": "nothing"}, {"since": "yesterday"}, {"until": "2026-01-01T00:00:00"}, {"user_id": "x"}):
        problem(await client.get(address, params=query), 422, "validation_failed")
    problem(await client.get(address, params={"cursor": "x"}), 422, "bad_cursor")


async def test_an_admin_reads_their_own_workspace_and_no_other(address, colleague, stranger, make_agent, client):
    await client.delete(f"/api/v1/agents/{(await make_agent()).id}")
    foreign = await make_agent(by=stranger)
    await stranger.http.delete(f"/api/v1/agents/{foreign.id}")
    admin = await colleague("admin")

    events = (await admin.http.get(address, params={"workspace_id": stranger.workspace_id})).json()["items"]

    assert len(events) == 1
    assert foreign.id not in str(events)
    theirs = f"/api/v1/workspaces/{stranger.workspace_id}/audit"
    problem(await admin.http.get(theirs), 404, "not_found")
    problem(await admin.http.get(f"{theirs}/export"), 404, "not_found")


async def test_the_log_is_exported_whole_and_oldest_first(client, address, make_agent, monkeypatch):
    monkeypatch.setattr(audit_service, "EXPORT_PAGE", 2)
    agents = [await make_agent(f"Number {number}") for number in range(5)]
    for agent in agents:
        await client.delete(f"/api/v1/agents/{agent.id}")
    listed = (await client.get(address)).json()["items"]

    exported = await client.get(f"{address}/export")
    again = await client.get(f"{address}/export", params={"format": "csv", "action": "agent.deleted"})

    assert exported.headers["content-type"].startswith("application/x-ndjson")
    assert exported.headers["cache-control"] == "no-store"
    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert lines == listed[::-1]
    table = list(csv.DictReader(io.StringIO(again.text, newline="")))
    assert [row["target_id"] for row in table] == [agent.id for agent in agents]
    assert list(table[0]) == list(listed[0])
    told = (await client.get(address, params={"action": "audit.exported"})).json()["items"]
    assert [event["detail"] for event in told] == [{"form": "csv"}, {"form": "ndjson"}]


async def test_an_export_holds_no_connection_between_its_pages(arena, portal, owner, client, make_agent, monkeypatch):
    monkeypatch.setattr(audit_service, "EXPORT_PAGE", 1)
    for number in range(2):
        await client.delete(f"/api/v1/agents/{(await make_agent(f'Number {number}')).id}")
    service = arena.app.state.services.audit
    wanted = AuditFilter(workspace_id=UUID(owner.workspace_id))

    async def look():
        async with aclosing(await service.export(By(), wanted, ExportFormat.NDJSON)) as pages:
            first = await anext(pages)
            held = service._uow._engine.pool.checkedout()
            return len(first.splitlines()), held, len([page async for page in pages])

    assert portal.call(look) == (1, 0, 1)


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_events SET action = 'x'", "DELETE FROM audit_events", "TRUNCATE audit_events"]
)
async def test_nothing_is_taken_out_of_the_log(sql, owner, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        sql(statement.format("audit_events"))


@pytest.mark.parametrize("milliseconds", [-3, 3])
async def test_a_deed_is_found_by_its_moment_and_not_by_that_of_its_id(
    client, make_agent, address, told, monkeypatch, milliseconds
):
    """The one is written a little before or after the other, perhaps in another millisecond."""
    agent = await make_agent()
    monkeypatch.setattr(audit, "new_id", lambda: UUID(int=new_id().int + (milliseconds << 80)))
    await client.delete(f"/api/v1/agents/{agent.id}")
    [event] = (await client.get(address, params={"action": "agent.deleted"})).json()["items"]
    moment = datetime.fromisoformat(event["created_at"])

    for query in ({"since": moment}, {"until": moment + timedelta(microseconds=1)}):
        asked = {name: value.isoformat() for name, value in query.items()}
        assert [target for _, target in await told(action="agent.deleted", **asked)] == [agent.id], query
