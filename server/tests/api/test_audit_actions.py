"""Every action of the audit log, done as whoever does it: the log then has that deed, once and whole, and no secret."""

import json
import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from app.domain.audit import Action
from app.engines.process import Command, run_to_end
from tests.factories.providers import PROVIDER_KEY
from tests.fixtures.arena import SECRET_KEY
from tests.fixtures.databases import rows
from tests.fixtures.given import session_in
from tests.fixtures.people import PASSWORD
from tests.fixtures.processes import environment_of
from tests.fixtures.routes import filled

pytestmark = pytest.mark.anyio

LOG = "/api/v1/admin/audit"
NEW = "nineteen orange giraffes"
NEW_SECRET_KEY = "the newer secret key, of many letters"
UNTOLD = {
    *("password", "new_password", "code", "token", "key", "api_key", "secret", "recovery_codes"),
    *("access_token", "refresh_token", "email", "name", "display_name", "topic"),
}
"""The fields, of requests and answers, whose values are secrets or people's words."""
WHO = {
    "owner": {"user_id": "{owner}", "credential_id": "{owner_session}"},
    "admin": {"user_id": "{admin}", "credential_id": "{admin_session}"},
    "visitor": {"user_id": None, "credential_id": None},
}


def event_of(action, what, **told):
    """All that the log has of a deed, but for its id and moment; `what` is the kind and, if it has one, the id."""
    kind, _, target = what.partition(" ")
    nothing = dict.fromkeys(("user_id", "credential_id", "workspace_id", "address", "request_id"))
    target = {"target_type": kind, "target_id": target or None}
    return {"action": action, "outcome": "succeeded", "detail": {}, **nothing, **target, **told}


@dataclass(frozen=True)
class Deed:
    """A request, made by somebody once the fixture `given` has made what it needs, and the event that it is to leave.

    `{name}` is one of the things that are given or answered.
    """

    request: str
    body: dict[str, Any] | None
    given: str
    by: str
    is_refused: bool
    event: dict[str, Any]

    @property
    def method(self) -> str:
        return self.request.partition(" ")[0]

    @property
    def place(self) -> str:
        """Where the body goes."""
        return "params" if self.method == "GET" else "data" if self.request == "POST auth/token" else "json"


def deed(action, request, what, body=None, *, given="nothing", by="owner", is_refused=False, **told):
    event = event_of(action, what, address="127.0.0.1", **(WHO[by] | told))
    return Deed(request, body, given, by, is_refused, event)


in_workspace = partial(deed, workspace_id="{workspace}")

DEEDS = [
    deed(
        Action.LOGIN_SUCCEEDED,
        "POST auth/token",
        "session {session}",
        {"grant_type": "password", "username": "{owner_email}", "password": PASSWORD},
        by="visitor",
        user_id="{owner}",
        credential_id="{session}",
        detail={"method": "password"},
    ),
    deed(
        Action.LOGIN_FAILED,
        "POST auth/token",
        "session",
        {"grant_type": "password", "username": "{owner_email}", "password": NEW},
        by="visitor",
        user_id="{owner}",
        is_refused=True,
        outcome="failed",
        detail={"reason": "wrong_password"},
    ),
    deed(Action.SESSION_ENDED, "POST auth/logout", "session {owner_session}", detail={"reason": "logged_out"}),
    deed(
        Action.SESSION_ENDED,
        "DELETE auth/sessions/{other_session}",
        "session {other_session}",
        given="another_session",
        detail={"reason": "by_its_owner"},
    ),
    deed(
        Action.SESSION_ENDED,
        "DELETE auth/sessions",
        "session {other_session}",
        given="another_session",
        detail={"reason": "by_its_owner"},
    ),
    deed(
        Action.SESSION_ENDED,
        "POST auth/token",
        "session {other_session}",
        {"grant_type": "refresh_token", "refresh_token": "{used_refresh_token}"},
        given="a_used_refresh_token",
        by="visitor",
        user_id="{owner}",
        credential_id="{other_session}",
        is_refused=True,
        detail={"reason": "refresh_token_reused"},
    ),
    deed(
        Action.PASSWORD_CHANGED,
        "POST auth/password",
        "user {owner}",
        {"password": PASSWORD, "new_password": NEW},
        given="another_session",
        detail={"sessions_ended": 1},
    ),
    deed(
        Action.PASSWORD_RESET,
        "POST auth/password-reset/confirm",
        "user {owner}",
        {"token": "{token}", "new_password": NEW},
        given="a_reset_mail",
        by="visitor",
        detail={"sessions_ended": 1, "api_keys_revoked": 2, "identities_unlinked": 0},
    ),
    deed(Action.TOTP_ENABLED, "POST auth/totp/confirm", "user {owner}", {"code": "{code}"}, given="a_factor_begun"),
    deed(
        Action.TOTP_DISABLED,
        "POST auth/totp/disable",
        "user {owner}",
        {"password": PASSWORD, "code": "{code}"},
        given="a_factor",
    ),
    deed(
        Action.RECOVERY_CODES_RENEWED,
        "POST auth/recovery-codes",
        "user {owner}",
        {"password": PASSWORD, "code": "{code}"},
        given="a_factor",
    ),
    deed(
        Action.IDENTITY_LINKED,
        "GET auth/oidc/callback",
        "user {owner}",
        {"code": "{code}", "state": "{state}", "iss": "{iss}"},
        given="an_identity_to_link",
        by="visitor",
        user_id="{owner}",
        credential_id="{owner_session}",
    ),
    deed(Action.IDENTITY_UNLINKED, "DELETE auth/oidc/link", "user {owner}", given="a_linked_identity"),
    deed(
        Action.API_KEY_CREATED,
        "POST auth/api-keys",
        "api_key {id}",
        {"name": "A program", "scopes": ["agents:read", "agents:write"]},
        detail={"scopes": ["agents:read", "agents:write"]},
    ),
    deed(Action.API_KEY_REVOKED, "DELETE auth/api-keys/{key_id}", "api_key {key_id}", given="an_api_key"),
    deed(
        Action.USER_CREATED,
        "POST auth/register",
        "user {id}",
        {"email": "{number}@arena.example", "password": PASSWORD, "display_name": "Grace Hopper"},
        by="visitor",
        user_id="{id}",
        detail={"is_superuser": False},
    ),
    deed(
        Action.USER_CHANGED,
        "PATCH auth/me",
        "user {owner}",
        {"email": "{number}@arena.example", "display_name": "Countess", "password": PASSWORD},
        detail={"fields": ["email", "display_name"]},
    ),
    deed(
        Action.USER_CHANGED,
        "PATCH admin/users/{person}",
        "user {person}",
        {"display_name": "Countess"},
        given="somebody",
        by="admin",
        detail={"fields": ["display_name"]},
    ),
    deed(
        Action.USER_DISABLED,
        "PATCH admin/users/{person}",
        "user {person}",
        {"is_disabled": True},
        given="somebody",
        by="admin",
    ),
    deed(
        Action.USER_ENABLED,
        "PATCH admin/users/{person}",
        "user {person}",
        {"is_disabled": False},
        given="somebody_disabled",
        by="admin",
    ),
    deed(
        Action.USER_PROMOTED,
        "PATCH admin/users/{person}",
        "user {person}",
        {"is_superuser": True},
        given="somebody",
        by="admin",
    ),
    deed(
        Action.USER_DEMOTED,
        "PATCH admin/users/{person}",
        "user {person}",
        {"is_superuser": False},
        given="another_admin",
        by="admin",
    ),
    deed(Action.WORKSPACE_CREATED, "POST workspaces", "workspace {id}", {"name": "The team"}, workspace_id="{id}"),
    in_workspace(
        Action.WORKSPACE_CHANGED,
        "PATCH workspaces/{workspace}",
        "workspace {workspace}",
        {"name": "The team", "limits": {"tokens_per_day": 1000}},
        detail={"fields": ["limits", "name"]},
    ),
    deed(
        Action.WORKSPACE_DELETED,
        "DELETE workspaces/{team}",
        "workspace {team}",
        given="a_team",
        workspace_id="{team}",
        detail={"members": 1},
    ),
    in_workspace(
        Action.ROLE_GRANTED,
        "POST workspaces/{workspace}/members",
        "user {person}",
        {"email": "{person_email}", "role": "viewer"},
        given="somebody",
        detail={"role": "viewer"},
    ),
    in_workspace(
        Action.ROLE_GRANTED,
        "POST workspaces/{workspace}/members",
        "user",
        {"email": "{number}@arena.example", "role": "viewer"},
        is_refused=True,
        outcome="failed",
        detail={"reason": "unknown_address"},
    ),
    in_workspace(
        Action.ROLE_CHANGED,
        "PUT workspaces/{workspace}/members/{person}",
        "user {person}",
        {"role": "admin"},
        given="a_viewer",
        detail={"role": "admin", "before": "viewer"},
    ),
    in_workspace(
        Action.ROLE_REVOKED,
        "DELETE workspaces/{workspace}/members/{person}",
        "user {person}",
        given="a_viewer",
        detail={"before": "viewer"},
    ),
    in_workspace(Action.AGENT_DELETED, "DELETE agents/{agent}", "agent {agent}", given="an_agent"),
    in_workspace(
        Action.MEMORY_FORGOTTEN,
        "DELETE agents/{agent}/memories/{memory}",
        "memory {memory}",
        given="a_memory",
    ),
    in_workspace(
        Action.AGENT_FORGOT_ALL,
        "DELETE agents/{agent}/memories",
        "agent {agent}",
        given="a_memory",
        detail={"memories": 1},
    ),
    in_workspace(
        Action.AGENT_DELETED,
        "DELETE agents/{agent}",
        "agent {agent}",
        given="an_agent_and_a_program",
        by="visitor",
        user_id="{owner}",
        credential_id="{key_id}",
    ),
    in_workspace(Action.BASE_DELETED, "DELETE knowledge/bases/{base}", "base {base}", given="a_document"),
    in_workspace(
        Action.DOCUMENT_DELETED, "DELETE knowledge/documents/{document}", "document {document}", given="a_document"
    ),
    in_workspace(
        Action.EXTRACTION_DELETED,
        "DELETE knowledge/extractions/{extraction}",
        "extraction {extraction}",
        given="an_extraction",
    ),
    in_workspace(
        Action.DISCUSSION_CREATED,
        "POST discussions",
        "discussion {id}",
        {"topic": "Should we go remote?", "participants": [{"agent_id": "{agent}"}], "start": False},
        given="an_agent",
        detail={"is_started": False},
    ),
    in_workspace(
        Action.DISCUSSION_FORKED,
        "POST discussions/{discussion}/fork",
        "discussion {id}",
        {"start": False},
        given="a_waiting_discussion",
        detail={"parent_id": "{discussion}", "is_started": False},
    ),
    in_workspace(
        Action.DISCUSSION_STARTED, "POST discussions/{discussion}/start", "discussion {discussion}", given="a_draft"
    ),
    in_workspace(
        Action.DISCUSSION_PAUSED,
        "POST discussions/{discussion}/pause",
        "discussion {discussion}",
        given="a_waiting_discussion",
    ),
    in_workspace(
        Action.DISCUSSION_RESUMED,
        "POST discussions/{discussion}/resume",
        "discussion {discussion}",
        given="a_paused_discussion",
    ),
    in_workspace(
        Action.DISCUSSION_INTERRUPTED,
        "POST discussions/{discussion}/interrupt",
        "discussion {discussion}",
        given="a_waiting_discussion",
    ),
    in_workspace(
        Action.DISCUSSION_STOPPED,
        "POST discussions/{discussion}/stop",
        "discussion {discussion}",
        given="a_waiting_discussion",
    ),
    in_workspace(
        Action.DISCUSSION_DELETED,
        "DELETE discussions/{discussion}",
        "discussion {discussion}",
        given="a_waiting_discussion",
    ),
    in_workspace(
        Action.PROVIDER_CREATED,
        "POST ai/providers",
        "provider {id}",
        {"name": "Ours", "kind": "anthropic", "api_key": PROVIDER_KEY},
        detail={"kind": "anthropic"},
    ),
    in_workspace(
        Action.PROVIDER_CHANGED,
        "PATCH ai/providers/{provider}",
        "provider {provider}",
        {"name": "Ours", "api_key": f"{PROVIDER_KEY}2"},
        given="a_provider",
        detail={"fields": ["api_key", "name"]},
    ),
    in_workspace(Action.PROVIDER_DELETED, "DELETE ai/providers/{provider}", "provider {provider}", given="a_provider"),
    in_workspace(
        Action.TOOL_SERVER_CREATED,
        "POST ai/tool-servers",
        "tool_server {id}",
        {"name": "ours", "transport": "http", "url": "http://127.0.0.1:1/mcp", "token": PROVIDER_KEY},
        detail={"transport": "http"},
    ),
    in_workspace(
        Action.TOOL_SERVER_CHANGED,
        "PATCH ai/tool-servers/{tool_server}",
        "tool_server {tool_server}",
        {"name": "ours", "token": f"{PROVIDER_KEY}2"},
        given="a_tool_server",
        detail={"fields": ["name", "token"]},
    ),
    in_workspace(
        Action.TOOL_SERVER_DELETED,
        "DELETE ai/tool-servers/{tool_server}",
        "tool_server {tool_server}",
        given="a_tool_server",
    ),
    in_workspace(Action.AUDIT_EXPORTED, "GET workspaces/{workspace}/audit/export", "audit", detail={"form": "ndjson"}),
    in_workspace(
        Action.AUDIT_EXPORTED,
        "GET admin/audit/export",
        "audit",
        {"workspace_id": "{workspace}", "format": "csv"},
        by="admin",
        detail={"form": "csv"},
    ),
    deed(
        Action.AUDIT_EXPORTED,
        "GET admin/audit/export",
        "audit",
        {"until": "2020-01-01T00:00:00Z"},
        by="admin",
        detail={"form": "ndjson"},
    ),
]
COMMANDS = [
    (Action.USER_CREATED, "user create grace@arena.example --admin", "user {user}", {"is_superuser": True}),
    (Action.KEYS_ROTATED, "keys rotate", "keys", {}),
    (Action.KEYS_ROTATED, "keys rotate --at-once", "keys", {"at_once": True}),
    (Action.KEYS_RESEALED, "keys reseal", "keys", {"column": "signing_keys.private_key_sealed", "resealed": 1}),
    (Action.AUDIT_PRUNED, "audit prune --before 2020-01-01", "audit", {"before": "2020-01-01"}),
]


def test_every_action_of_the_log_has_its_deed_here():
    assert {deed.event["action"] for deed in DEEDS} | {action for action, *_ in COMMANDS} == set(Action)


@pytest.fixture
def things(request, deed, owner, admin):
    """What the deed needs, by name, and who is who."""
    return {
        **{"owner": owner.id, "owner_email": owner.email, "owner_session": session_in(owner.access_token)},
        **{"admin": admin.id, "admin_session": session_in(admin.access_token)},
        **{"workspace": owner.workspace_id, "number": uuid4().hex},
        **request.getfixturevalue(deed.given),
    }


def answered(response):
    """The things that an answer is about."""
    is_json = response.content and response.headers["content-type"] == "application/json"
    told = response.json() if is_json else {}
    return told | ({"session": session_in(told["access_token"])} if "access_token" in told else {})


def untold_in(*records):
    values = [record[name] for record in records for name in UNTOLD & record.keys() if record[name] is not None]
    return [word for value in values for word in ([value] if isinstance(value, str) else value)]


@pytest.mark.usefixtures("every_failure_is_told")
@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: f"{deed.event['action']}: {deed.request}")
async def test_a_deed_is_told_once_whole_and_without_secrets(deed, things, owner, admin, anonymous):
    http = things.pop("http", {"owner": owner.http, "admin": admin.http, "visitor": anonymous}[deed.by])
    address = f"/api/v1/{deed.request.partition(' ')[2].format(**things)}"
    body, headers = filled(deed.body, things), {"X-Request-ID": f"deed-{uuid4().hex}"}

    answer = await http.request(deed.method, address, headers=headers, **{deed.place: body})

    assert answer.is_error == deed.is_refused, answer.text
    page = (await admin.http.get(LOG)).json()["items"]
    [told] = [event for event in page if event["request_id"] == headers["X-Request-ID"]]
    assert datetime.now(UTC) - datetime.fromisoformat(told.pop("created_at")) < timedelta(seconds=30)
    assert told.pop("id")
    named = answered(answer)
    assert told == {**filled(deed.event, things | named), "request_id": headers["X-Request-ID"]}
    untold = [*untold_in(things, body or {}, named), PASSWORD, owner.access_token, owner.refresh_token]
    assert not [word for word in untold if word in json.dumps(told)]


@pytest.mark.parametrize(("action", "command", "what", "detail"), COMMANDS, ids=[row[1] for row in COMMANDS])
async def test_a_command_is_told_as_nobodys_and_of_no_address(
    workerless, fresh_database, action, command, what, detail
):
    changes = {"ARENA_SECRET_KEY": NEW_SECRET_KEY, "ARENA_SECRET_KEY_PREVIOUS": f"{SECRET_KEY}\n"}
    environment = environment_of(workerless.settings, **changes)

    done = await run_to_end(Command([sys.executable, "-m", "app.cli", *shlex.split(command)], environment=environment))

    assert done.code == 0, done.errors
    [(told,)] = rows(fresh_database, "SELECT to_jsonb(e) - 'id' - 'created_at' FROM audit_events e")
    users = rows(fresh_database, "SELECT id::text FROM users")
    assert told == filled(event_of(action, what, detail=detail), {"user": users[0][0]} if users else {})


async def test_an_account_that_comes_from_an_issuer_is_told_with_the_identity_that_logs_in_to_it(browser, issuer, sql):
    answer = await browser.log_in()

    [(user_id,)] = sql("SELECT id::text FROM users WHERE email = %s", issuer.person["email"].lower())
    session = session_in(answer.json()["access_token"])
    told = sql(
        "SELECT action, user_id::text, credential_id::text, target_id::text, detail FROM audit_events"
        " WHERE request_id = %s ORDER BY id",
        answer.headers["X-Request-ID"],
    )
    assert told == [
        ("user.created", user_id, None, user_id, {"is_superuser": False}),
        ("identity.linked", user_id, None, user_id, {}),
        ("login.succeeded", user_id, session, session, {"method": "oidc"}),
    ]
