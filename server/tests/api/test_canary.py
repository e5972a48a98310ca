"""No secret comes out where it is not meant to: in no log, answer, table or cache, whatever goes wrong meanwhile."""

import json
import re
import secrets
from contextlib import AsyncExitStack, contextmanager
from itertools import chain

import httpx2
import psycopg
import pytest
from redis import Redis
from sqlalchemy import LargeBinary, make_url

from app.core.sealing import Sealer
from app.core.security import digest_of
from app.core.totp import plain_recovery_code
from app.models import Base
from app.models.sealed import OIDC_VERIFIERS, SEALED_COLUMNS, SIGNING_KEYS
from tests.fixtures.arena import SECRET_KEY
from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually
from tests.fixtures.guests import AUTH, Guests
from tests.fixtures.leaks import GIVING, Places
from tests.fixtures.mail import smtp_settings
from tests.fixtures.misuse import misuse
from tests.fixtures.oidc import CALLBACK, FRONTEND
from tests.fixtures.oidc_provider import CLIENT_ID, CLIENT_SECRET
from tests.fixtures.routes import DOCUMENT, SCHEMAS, reachable
from tests.fixtures.vaults import TOKEN

pytestmark = pytest.mark.anyio

PASSWORD_HASH = "$argon2id$v=19$"
OF_PEOPLE = (
    *("password", "new password", "wrong password", "provider key", "other provider key", "tool server token"),
    *("verifier of a frontend", "stray"),
)
OF_SETTINGS = (
    *("older secret key", "model key", "local model key", "database password", "owner's password"),
    *("cache password", "mail password", "admin password", "S3 secret"),
    *("metrics token", "Qdrant key"),
)
SEALED = ("secret", "other provider key", "tool server token", "key", "webhook_secret")
HASHED = ("key", "recovery_codes", "ticket", "state", "arena-oidc", "code", "reset token")
GIVEN = (
    *("access_token", "refresh_token", "ticket", "token", "secret", "recovery_codes", "key", "webhook_secret"),
    *("state", "arena-oidc", "code", "reset token", "turn token", "code of the issuer", "verifier", "signing key"),
)
BROKEN = (
    ("users", "recovery_codes", "login_codes"),
    ("sessions", "providers", "tool_servers", "api_keys", "socket_tickets", "oidc_logins", "agents", "password_resets"),
    ("idempotent_requests",),
)
"""Tables that are broken at once: no route writes into two of a group, the first of which would hide the second."""


@pytest.fixture
def canaries():
    """Secrets that are nowhere by chance, long enough to be found in base64 too."""
    names = (*OF_PEOPLE, *OF_SETTINGS)
    return {name: f"canary-{re.sub('[^a-z]', '-', name)}-{secrets.token_hex(12)}" for name in names}


@pytest.fixture
def closed_cache(valkey_url, canaries):
    """A user of Valkey with a password, who can be locked out."""
    with Redis.from_url(valkey_url) as cache:

        def let_in():
            password = f"+{canaries['cache password']}"
            cache.acl_setuser("canary", True, passwords=password, keys=["*"], channels=["*"], categories=["+@all"])

        @contextmanager
        def lock_out():
            cache.acl_deluser("canary")
            yield
            let_in()

        let_in()
        yield lock_out
        cache.acl_deluser("canary")


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


@pytest.fixture
def secretive(fresh_database, valkey_url, closed_cache, vault, issuer, post_office, canaries, make_settings_like):
    """Settings with every secret that there is."""
    vault.put(key=SECRET_KEY)

    def database(name):
        return make_url(fresh_database).set(password=canaries[name]).render_as_string(hide_password=False)

    return make_settings_like(
        vault={"vault_url": vault.url, "vault_token": TOKEN, "vault_secret": "secret/arena/prod#key"},
        auth={
            "secret_key": None,
            "secret_key_previous": canaries["older secret key"],
            "admin_password": canaries["admin password"],
        },
        database={
            "database_url": database("database password"),
            "database_owner_url": database("owner's password"),
        },
        redis={"redis_url": valkey_url.replace("://", f"://canary:{canaries['cache password']}@", 1)},
        mail=smtp_settings(post_office, smtp_username="arena", smtp_password=canaries["mail password"]),
        oidc={
            "oidc_issuer": issuer.url,
            "oidc_client_id": CLIENT_ID,
            "oidc_client_secret": CLIENT_SECRET,
            "oidc_redirect_url": f"http://127.0.0.1{CALLBACK}",
            "oidc_return_urls": FRONTEND,
        },
        models={"openai_api_key": canaries["model key"], "local_model_key": canaries["local model key"]},
        originals={"s3_secret_access_key": canaries["S3 secret"]},
        server={"metrics_token": canaries["metrics token"]},
        vectors={"qdrant_api_key": canaries["Qdrant key"]},
        log={"log_level": "DEBUG"},
    )


@pytest.fixture
async def places(secretive, canaries, fresh_database, valkey_url, start_process, start_api, start_worker):
    """An installation of two processes with an administrator, and the search through all that comes out of it."""
    worker = await start_worker(secretive, wait=False)
    bootstrap = start_process("user", "bootstrap", settings=secretive)
    api, arena = await start_api(secretive)
    await worker.ready()
    assert bootstrap.wait() == 0, bootstrap.log.read_text()
    others = {"secret key": SECRET_KEY, "vault token": TOKEN, "client secret": CLIENT_SECRET}
    every = {secret: name for name, secret in {**canaries, **others}.items()}
    return Places(every, arena.url, fresh_database, valkey_url, [api, worker, bootstrap])


@pytest.fixture
async def connect_noted(places):
    """Clients all of whose answers are searched."""
    async with AsyncExitStack() as stack:

        async def open_client():
            client = httpx2.AsyncClient(
                base_url=places.url, trust_env=False, verify=False, timeout=20, event_hooks={"response": [places.note]}
            )
            return await stack.enter_async_context(client)

        yield open_client


@pytest.fixture
def guests(places, canaries, connect_noted, post_office, receiver, issuer):
    return Guests(places, canaries, connect_noted, post_office, receiver, issuer)


async def test_every_secret_of_the_settings_is_looked_for(secretive):
    unset = {name for name, value in _secrets_of(secretive) if value is None}

    assert unset == {"secret_key"}, "which is in Vault"


def _secrets_of(settings):
    for _, group in settings:
        for name, field in getattr(type(group), "model_fields", {}).items():
            if "SecretStr" in str(field.annotation):
                yield name, getattr(group, name)


def test_every_field_of_an_answer_that_sounds_secret_is_looked_for():
    answers = reachable(
        [operation["responses"] for operations in DOCUMENT.values() for operation in operations.values()]
    )
    fields = {name for model in answers for name in SCHEMAS[model].get("properties", {})}

    sounding = {name for name in fields if re.search("(token|secret|ticket|password|codes|key)$", name)}
    assert sounding - {"has_key", "has_token"} == set(chain(*GIVING.values()))


async def test_no_secret_comes_out_where_it_is_not_meant_to(
    places, guests, canaries, connect_noted, fresh_database, closed_cache, closed_database
):
    """One run of some processes, looked at from every side: starting them costs seconds."""
    admin = await guests.log_in("admin", canaries["admin password"])
    await guests.do_everything()
    _check_what_is_kept(places, guests)
    await misuse(admin, await connect_noted(), canaries["stray"])
    assert [line for line in _requests(places) if line["status"] in {500, 502, 503}] == []
    await _break_one_after_another(guests, fresh_database)
    with closed_cache():
        await guests.try_everything()
    with closed_database():
        await guests.try_everything()
    await eventually(lambda: _is_ready(admin.http), 20, "the database")
    await guests.read_everything()

    had = {line["status"] for line in _requests(places)}
    assert {500, 502, 503} <= had, "the errors that this test is about have not happened"
    assert set(GIVEN) <= set(places.secrets.values())
    assert places.found() == set()
    assert all(PASSWORD_HASH.encode() not in text for *_where, text in places.answers)
    assert all(PASSWORD_HASH not in process.log.read_text() for process in places.processes)

    await _plant(places, admin.http)
    assert {where.partition(" ")[0] for _name, where in places.found()} == {"log", "table", "cache", "GET", "POST"}


def _requests(places):
    return [line for process in places.processes for line in process.said("request")]


def _check_what_is_kept(places, guests):
    """What is to be used again is sealed, each value for its place; of all else there is a digest."""
    sealed = {one: _unsealed(places.database, one) for one in SEALED_COLUMNS}
    assert all(sealed.values())
    places.secrets |= dict.fromkeys(sealed[SIGNING_KEYS], "signing key")
    places.secrets |= dict.fromkeys((value.decode() for value in sealed[OIDC_VERIFIERS]), "verifier")
    values = b"\n".join(chain(*sealed.values()))
    for name in SEALED:
        assert any(secret.encode() in values for secret in places.named(name)), name
    digests = _digests(places.database)
    for name in HASHED:
        forms = {form for secret in places.named(name) for form in (secret, plain_recovery_code(secret))}
        assert digests & set(map(digest_of, forms)), name
    assert digests & {digest_of(person.refresh_token) for person in guests.people.values()}


def _unsealed(database, sealed):
    table, column = sealed.name.split(".")
    keys = ", ".join(key.key for key in sealed.keys)
    kept = rows(database, f"SELECT {column}, {keys} FROM {table} WHERE {column} IS NOT NULL")
    return [Sealer([SECRET_KEY]).unseal(value, sealed.place(*key)) for value, *key in kept]


def _digests(database):
    """Whatever is in columns of bytes."""
    columns = [
        (table.name, column.name)
        for table in Base.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    ]
    return {value for table, column in columns for (value,) in rows(database, f"SELECT {column} FROM {table}")}


async def _break_one_after_another(guests, database):
    """Faults that nobody expects, whose messages quote what was written; and others' answers that quote a secret."""
    for tables in BROKEN:
        for table in tables:
            rows(database, f"ALTER TABLE {table} ADD CONSTRAINT broken CHECK (false) NOT VALID")
        await guests.try_everything(once=True)
        for table in tables:
            rows(database, f"ALTER TABLE {table} DROP CONSTRAINT broken")
    refused = json.dumps({"error": "invalid_client", "error_description": f"no client has {CLIENT_SECRET}"})
    await guests.issuer.behaves(token={"status": 400, "body": refused})
    guests.post_office.replies.append("554 no")
    rows(database, "ALTER TABLE providers RENAME TO mislaid")
    await guests.try_everything()
    rows(database, "ALTER TABLE mislaid RENAME TO providers")


async def _is_ready(http):
    return (await http.get("/readyz")).status_code == 200


async def _plant(places, http):
    """Secrets where they must not be: the search has to find each, or it would find nothing ever."""
    password, totp, ticket, key = (places.named(name)[0] for name in ("password", "secret", "ticket", "key"))
    rows(places.database, "UPDATE users SET display_name = %s, totp_secret_sealed = %s", password, totp.encode())
    with places.processes[0].log.open("a") as log:
        log.write(f'{{"event": "{key}"}}\n')
    with Redis.from_url(places.cache) as cache:
        cache.set("planted", ticket, ex=60)
    # What was shown before is shown again.
    request = httpx2.Request("POST", f"{http.base_url}{AUTH}/api-keys")
    await places.note(httpx2.Response(201, json={"key": key}, request=request))
    await eventually(lambda: _shows(http, password), 5, "the planted name")


async def _shows(http, secret):
    return secret in (await http.get(f"{AUTH}/me")).text
