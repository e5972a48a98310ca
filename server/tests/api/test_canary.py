"""No secret comes out where it is not meant to: not in logs, answers or the database, whatever goes wrong meanwhile."""

import secrets
from contextlib import contextmanager
from uuid import UUID

import httpx2
import psycopg
import pytest
from sqlalchemy import make_url

from app.core.sealing import Sealer
from app.core.security import digest_of
from app.models.sealed import SIGNING_KEYS, TOTP_SECRETS
from tests.fixtures.arena import SECRET_KEY
from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually
from tests.fixtures.leaks import Places
from tests.fixtures.viewer import watch_to_the_end

pytestmark = pytest.mark.anyio

TOKEN = ("POST", "/api/v1/auth/token")
PASSWORD_HASH = "$argon2id$v=19$"
NAMES = ("password", "wrong password", "provider key", "model key", "api key", "reset token", "second factor")


def made(name):
    """A secret that is nowhere by chance, long enough to be found in base64 too."""
    return f"canary-{name.replace(' ', '-')}-{secrets.token_hex(12)}"


@pytest.fixture
def canaries():
    return {name: made(name) for name in NAMES}


@pytest.fixture
async def places(canaries, fresh_database, make_settings_like, start_api, start_worker):
    """An installation of two processes, and the search through all that comes out of it."""
    settings = make_settings_like(
        database={"database_url": fresh_database},
        models={"openai_api_key": canaries["model key"]},
        log={"log_level": "DEBUG"},
    )
    api, arena = await start_api(settings)
    worker = await start_worker(settings)
    every = {**canaries, "secret key": SECRET_KEY}
    places = Places(every, {"access token": {TOKEN}, "refresh token": {TOKEN}}, fresh_database, [api, worker])
    places.url = arena.url
    return places


@pytest.fixture
async def visitor(places):
    """A client all of whose answers are searched."""
    async with httpx2.AsyncClient(
        base_url=places.url, trust_env=False, verify=False, timeout=20, event_hooks={"response": [places.note]}
    ) as client:
        yield client


@pytest.fixture
def closed_database(engines, fresh_database):
    """Takes the database away and gives it back."""
    name = make_url(fresh_database).database

    @contextmanager
    def close():
        with psycopg.connect(engines.database_url, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            yield
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    return close


async def test_no_secret_comes_out_where_it_is_not_meant_to(places, visitor, canaries, fresh_database, closed_database):
    """One run of two processes, looked at from every side: starting them costs seconds."""
    await _live(places, visitor, canaries, fresh_database)
    await _ask_wrongly(visitor, canaries)
    await _break(visitor, canaries, fresh_database)
    with closed_database():
        await _use_everything(visitor, canaries)
    await eventually(lambda: _is_ready(visitor), 20, "the database")

    statuses = {int(answer.split(b" ")[0]) for answer in _statuses(places)}
    assert {500, 503} <= statuses, "the errors that this test is about have not happened"
    assert places.found() == set()
    assert all(PASSWORD_HASH.encode() not in text for *_where, text in places.answers)
    assert all(PASSWORD_HASH not in process.log.read_text() for process in places.processes)

    await _plant(places, visitor, fresh_database)
    planted = {where.partition(" ")[0] for _name, where in places.found()}
    assert planted == {"log", "table", "GET"}
    assert {name for name, _where in places.found()} == {"password", "second factor", "provider key", "api key"}


def _statuses(places):
    for process in places.processes:
        for line in process.said("request"):
            yield b"%d " % line["status"]


async def _live(places, visitor, canaries, database):
    """Everything that takes a secret in and can be done rightly."""
    email = "ada@arena.example"
    register = {"email": email, "password": canaries["password"], "display_name": "Ada"}
    user = (await visitor.post("/api/v1/auth/register", json=register)).json()
    asked = {"grant_type": "password", "username": email, "password": canaries["password"]}
    tokens = (await visitor.post("/api/v1/auth/token", data=asked)).json()
    asked = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    renewed = (await visitor.post("/api/v1/auth/token", data=asked)).json()
    places.secrets["access token"] = tokens["access_token"].rpartition(".")[2]
    places.secrets["refresh token"] = tokens["refresh_token"].rpartition(".")[2]
    places.secrets["signing key"] = _keep_other_secrets(database, canaries, UUID(user["id"]))
    visitor.headers["Authorization"] = f"Bearer {renewed['access_token']}"
    await _use_everything(visitor, canaries)
    for model in ("openai/fake?tokens=8", "openai/fake?status=401&leak_key"):
        await _discuss(visitor, model)


def _keep_other_secrets(database, canaries, user_id):
    """A second factor, an API key and a right to a new password, as they are kept; the private signing key's bytes."""
    sealer = Sealer([SECRET_KEY])
    totp = sealer.seal(canaries["second factor"].encode(), TOTP_SECRETS.place(user_id))
    rows(database, "UPDATE users SET totp_secret_sealed = %s", totp)
    digest = digest_of(canaries["api key"])
    insert = "INSERT INTO api_keys (id, user_id, name, hint, digest, scopes) VALUES (%s, %s, 'x', 'x', %s, '{}')"
    rows(database, insert, user_id, user_id, digest)
    insert = "INSERT INTO password_resets (digest, user_id, expires_at) VALUES (%s, %s, now() + interval '1 h')"
    rows(database, insert, digest_of(canaries["reset token"]), user_id)
    [(kid, sealed)] = rows(database, "SELECT kid, private_key_sealed FROM signing_keys")
    return sealer.unseal(sealed, SIGNING_KEYS.place(kid))


async def _use_everything(visitor, canaries):
    """What is also asked while things are broken."""
    key = canaries["provider key"]
    body = {"name": secrets.token_hex(4), "kind": "anthropic", "api_key": key}
    provider = await visitor.post("/api/v1/ai/providers", json=body)
    if provider.status_code == 201:
        await visitor.patch(f"/api/v1/ai/providers/{provider.json()['id']}", json={"api_key": key})
    register = {"email": f"{body['name']}@arena.example", "password": canaries["password"], "display_name": "Eve"}
    await visitor.post("/api/v1/auth/register", json=register)
    for address in ("/auth/me", "/ai/providers", "/agents", "/discussions"):
        await visitor.get(f"/api/v1{address}")
    for name in ("password", "wrong password"):
        asked = {"grant_type": "password", "username": "ada@arena.example", "password": canaries[name]}
        visitor.cookies.clear()
        await visitor.post("/api/v1/auth/token", data=asked | ({"scope": "x"} if name == "password" else {}))
    for name in ("api key", "reset token"):
        bearer = {"Authorization": f"Bearer {canaries[name]}"}
        await visitor.get("/api/v1/auth/me", headers=bearer)
    for address in ("/healthz", "/readyz", "/metrics", "/.well-known/jwks.json", "/api/v1/openapi.json"):
        await visitor.get(address)


async def _discuss(visitor, model):
    agent = (await visitor.post("/api/v1/agents", json={"name": model[-20:], "model": model, "persona": "x"})).json()
    body = {
        "topic": "Who?",
        "on_turn_failure": "end",
        "participants": [{"agent_id": agent["id"]}],
        "limits": {"max_turns": 1},
    }
    discussion = (await visitor.post("/api/v1/discussions", json=body)).json()
    await watch_to_the_end(visitor, discussion["id"])
    await visitor.get(f"/api/v1/discussions/{discussion['id']}/transcript")


async def _ask_wrongly(visitor, canaries):
    """Every secret in every place of a request where it does not belong, and in every form that is refused."""
    for secret in canaries.values():
        for wrong in ([secret], {"key": secret}, secret + "\n", f" {secret}", secret * 200, {secret: secret}):
            body = {"name": "x", "kind": "groq", "api_key": wrong}
            await visitor.post("/api/v1/ai/providers", json=body)
            register = {"email": "a@arena.example", "password": wrong, "display_name": ""}
            await visitor.post("/api/v1/auth/register", json=register)
        await visitor.post("/api/v1/ai/providers", content=f'{{"api_key": "{secret}"', headers=_JSON)
        await visitor.post("/api/v1/auth/token", data={"grant_type": secret, "password": secret, "username": secret})
        await visitor.post("/api/v1/auth/token", data={"grant_type": "refresh_token", "refresh_token": secret})
        await visitor.get("/api/v1/agents", params={"cursor": secret, "limit": secret})
        await visitor.get("/api/v1/discussions/x/events", params={"stream_token": secret, "token": secret})
        await visitor.get("/api/v1/agents", headers={"X-Workspace-ID": secret})
        await visitor.get("/api/v1/agents", headers={"Cookie": f"session={secret}", "If-Match": f'"{secret}"'})
        await visitor.post("/api/v1/auth/password-reset", json={"token": secret, "password": secret})
        for authorization in (f"Bearer {secret}", f"Basic {secret}", secret):
            await visitor.get("/api/v1/auth/me", headers={"Authorization": authorization})


_JSON = {"Content-Type": "application/json"}


async def _break(visitor, canaries, database):
    """Faults that nobody expects, whose messages quote what was written: each becomes a 500."""
    for table in ("providers", "users", "sessions"):
        rows(database, f"ALTER TABLE {table} ADD CONSTRAINT broken CHECK (created_at IS NULL) NOT VALID")
        await _use_everything(visitor, canaries)
        rows(database, f"ALTER TABLE {table} DROP CONSTRAINT broken")
    rows(database, "ALTER TABLE providers RENAME TO mislaid")
    await _use_everything(visitor, canaries)
    rows(database, "ALTER TABLE mislaid RENAME TO providers")


async def _is_ready(visitor):
    return (await visitor.get("/readyz")).status_code == 200


async def _plant(places, visitor, database):
    """Secrets where they must not be: the search has to find each, or it would find nothing ever."""
    rows(database, "UPDATE users SET display_name = %s", places.secrets["password"])
    rows(database, "UPDATE users SET totp_secret_sealed = %s", places.secrets["second factor"].encode())
    with next(iter(places.processes)).log.open("a") as log:
        log.write(f'{{"event": "{places.secrets["provider key"]}"}}\n')
    rows(database, "UPDATE workspaces SET name = %s", f"Key {places.secrets['api key']}")
    places.answers.clear()
    await eventually(lambda: _shows(visitor, places.secrets["password"]), 5, "the planted name")


async def _shows(visitor, secret):
    return secret in (await visitor.get("/api/v1/auth/me")).text
