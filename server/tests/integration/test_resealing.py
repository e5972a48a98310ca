"""Sealing anew after a change of the secret key: everything, once, beside whatever else happens to the rows."""

import asyncio
import re
import sys

import psycopg
import pytest
from sqlalchemy import LargeBinary
from sqlalchemy.exc import IntegrityError

from app.cli.installation import open_installation
from app.core.ids import new_id
from app.core.sealing import Sealer
from app.engines.process import Command, run_to_end
from app.models import Base
from app.models.sealed import (
    IDEMPOTENT_BODIES,
    OIDC_VERIFIERS,
    PROVIDER_KEYS,
    SEALED_COLUMNS,
    SIGNING_KEYS,
    TOOL_SERVER_TOKENS,
    TOTP_SECRETS,
)
from app.services.resealing import BATCH, Resealing
from tests.fixtures.arena import SECRET_KEY
from tests.fixtures.processes import environment_of

pytestmark = pytest.mark.anyio

NEW_KEY, LOST_KEY = "the newer secret key, of many letters", "a secret key that nobody has any more"
OLD, NEW, LOST = Sealer([SECRET_KEY]), Sealer([NEW_KEY]), Sealer([LOST_KEY])


@pytest.fixture
def database(fresh_database):
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def own(fresh_database, make_settings_like):
    """The installation's settings after the change of its secret key."""
    auth = {"secret_key": NEW_KEY, "secret_key_previous": f"{SECRET_KEY}\n"}
    return make_settings_like(database={"database_url": fresh_database}, auth=auth)


@pytest.fixture
def reseal(own):
    """Go through everything once; what became of each column, as (resealed, left)."""

    async def run():
        async with open_installation(own, "test", with_any_keys=True) as (uow, secret_keys):
            counts = await Resealing(uow, Sealer(secret_keys), lambda _: None).run()
        return {count.column: (count.resealed, count.left) for count in counts if count.resealed or count.left}

    return run


def add_users(database, count, sealer=OLD):
    """So many users with a second factor; the place of each one's secret."""
    ids = [new_id() for _ in range(count)]
    for user in ids:
        sealed = sealer.seal(b"totp of %s" % user.bytes, TOTP_SECRETS.place(user))
        database.execute(
            "INSERT INTO users (id, email, display_name, totp_secret_sealed) VALUES (%s, %s, 'x', %s)",
            (user, f"{user}@arena.example", sealed),
        )
    return ids


def add_one_of_everything(database):
    """A value in every sealed column, all for one user; what is in each place."""
    [user] = add_users(database, 1)
    workspace, provider, owner, digest, kid = new_id(), new_id(), new_id(), b"\x00\xff" * 16, "k" * 43
    server = new_id()
    places = {
        TOTP_SECRETS.place(user): b"totp of %s" % user.bytes,
        **{PROVIDER_KEYS.place(provider): b"provider", TOOL_SERVER_TOKENS.place(server): b"token"},
        **{SIGNING_KEYS.place(kid): b"s" * 32},
        **{OIDC_VERIFIERS.place(digest): b"verifier", IDEMPOTENT_BODIES.place(owner, "a:b"): b"body"},
    }
    sealed = {place: OLD.seal(secret, place) for place, secret in places.items()}
    database.execute("INSERT INTO workspaces (id, name) VALUES (%s, 'x')", (workspace,))
    database.execute(
        "INSERT INTO providers (id, workspace_id, name, kind, api_key_sealed) VALUES (%s, %s, 'x', 'groq', %s)",
        (provider, workspace, sealed[PROVIDER_KEYS.place(provider)]),
    )
    database.execute(
        "INSERT INTO tool_servers (id, workspace_id, name, transport, token_sealed) VALUES (%s, %s, 'x', 'http', %s)",
        (server, workspace, sealed[TOOL_SERVER_TOKENS.place(server)]),
    )
    database.execute(
        "INSERT INTO signing_keys (kid, public_key, private_key_sealed, active_from) VALUES (%s, '', %s, now())",
        (kid, sealed[SIGNING_KEYS.place(kid)]),
    )
    database.execute(
        "INSERT INTO oidc_logins (digest, browser_digest, issuer, nonce, verifier_sealed, expires_at)"
        " VALUES (%s, '', 'x', 'x', %s, now())",
        (digest, sealed[OIDC_VERIFIERS.place(digest)]),
    )
    database.execute(
        "INSERT INTO idempotent_requests (owner_id, key, fingerprint, claim, claimed_until, body_sealed)"
        " VALUES (%s, 'a:b', '', %s, now(), %s)",
        (owner, owner, sealed[IDEMPOTENT_BODIES.place(owner, "a:b")]),
    )
    return places


def contents(database):
    """Every sealed value by the place that its row says it is for."""
    found = {}
    for sealed in SEALED_COLUMNS:
        keys = ", ".join(key.key for key in sealed.keys)
        statement = f"SELECT {sealed.column.key}, {keys} FROM {sealed.column.class_.__tablename__}"
        for value, *key in database.execute(statement).fetchall():
            if value is not None:
                found[sealed.place(*key)] = value
    return found


def told(database):
    """(column, how many, of which workspace) of each step that is in the audit log."""
    told = database.execute("SELECT action, detail, workspace_id FROM audit_events ORDER BY id").fetchall()
    assert {action for action, *_ in told} <= {"keys.resealed"}
    return [(detail["column"], detail["resealed"], workspace) for _, detail, workspace in told]


def test_every_sealed_column_of_the_tables_is_in_the_registry_with_its_primary_key():
    named = {
        f"{table.name}.{column.name}": tuple(key.name for key in table.primary_key)
        for table in Base.metadata.tables.values()
        for column in table.columns
        if column.name.endswith("_sealed")
    }

    assert {sealed.name: tuple(key.key for key in sealed.keys) for sealed in SEALED_COLUMNS} == named
    for sealed in SEALED_COLUMNS:
        table = sealed.column.class_.__table__
        assert isinstance(table.c[sealed.column.key].type, LargeBinary)
        assert (sealed.tenant is not None) == ("workspace_id" in table.c)


async def test_every_kind_of_secret_is_sealed_anew_in_its_place_and_only_once(database, reseal):
    secrets = add_one_of_everything(database)
    changed = "SELECT updated_at FROM users UNION ALL SELECT updated_at FROM providers"
    times = database.execute(changed).fetchall()

    assert await reseal() == {sealed.name: (1, 0) for sealed in SEALED_COLUMNS}

    after = contents(database)
    assert {place: NEW.unseal(value, place) for place, value in after.items()} == secrets
    assert database.execute(changed).fetchall() == times
    [(workspace,)] = database.execute("SELECT id FROM workspaces").fetchall()
    workspaces = {PROVIDER_KEYS.name: workspace, TOOL_SERVER_TOKENS.name: workspace}
    one_each = [(sealed.name, 1, workspaces.get(sealed.name)) for sealed in SEALED_COLUMNS]
    assert told(database) == one_each
    assert await reseal() == {}
    assert contents(database) == after
    assert told(database) == one_each


@pytest.mark.parametrize("count", [0, 1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 7])
async def test_any_number_of_values_is_gone_through(database, reseal, count):
    add_users(database, count)
    add_users(database, 3, NEW)

    assert await reseal() == ({"users.totp_secret_sealed": (count, 0)} if count else {})
    assert all(NEW.is_newest(value) for value in contents(database).values())
    steps = [BATCH] * (count // BATCH) + ([count % BATCH] if count % BATCH else [])
    assert told(database) == [("users.totp_secret_sealed", resealed, None) for resealed in steps]


async def test_a_step_that_fails_is_undone_and_not_told_and_those_before_it_stay(database, reseal):
    last = max(add_users(database, BATCH + 2))
    database.execute(f"ALTER TABLE users ADD CONSTRAINT refused CHECK (id <> '{last}') NOT VALID")

    with pytest.raises(IntegrityError):
        await reseal()

    assert sum(NEW.is_newest(value) for value in contents(database).values()) == BATCH
    assert told(database) == [("users.totp_secret_sealed", BATCH, None)]


async def test_what_no_key_opens_is_left_as_it_was_and_keeps_nothing_else_back(database, reseal):
    add_users(database, 2, LOST)
    [moved, _other] = add_users(database, 2)
    database.execute(
        "UPDATE users SET totp_secret_sealed = %s WHERE id = %s", (OLD.seal(b"x", "users.elsewhere:1"), moved)
    )
    before = contents(database)

    assert await reseal() == {"users.totp_secret_sealed": (1, 3)}

    after = contents(database)
    assert len([place for place in after if after[place] == before[place]]) == 3
    assert told(database) == [("users.totp_secret_sealed", 1, None)]


async def test_a_value_that_somebody_changes_meanwhile_is_not_overwritten(database, reseal, monkeypatch):
    """Another writes between our reading and our writing."""
    [user] = add_users(database, 1)
    place = TOTP_SECRETS.place(user)
    newer = OLD.seal(b"set just now", place)
    opened = Sealer.unseal

    def interrupted(self, sealed, where):
        if where == place:
            database.execute("UPDATE users SET totp_secret_sealed = %s WHERE id = %s", (newer, user))
        return opened(self, sealed, where)

    monkeypatch.setattr(Sealer, "unseal", interrupted)
    assert await reseal() == {}
    monkeypatch.undo()

    assert contents(database)[place] == newer
    assert told(database) == []
    assert await reseal() == {"users.totp_secret_sealed": (1, 0)}
    assert NEW.unseal(contents(database)[place], place) == b"set just now"


async def test_two_at_once_do_no_harm(database, reseal):
    ids = add_users(database, 250)

    both = await asyncio.gather(reseal(), reseal())

    assert sum(resealed for counts in both for resealed, _left in counts.values()) == 250
    assert sum(resealed for _, resealed, _ in told(database)) == 250
    assert {TOTP_SECRETS.place(user): b"totp of %s" % user.bytes for user in ids} == {
        place: NEW.unseal(value, place) for place, value in contents(database).items()
    }


async def test_the_command_tells_how_many_were_resealed_and_fails_if_some_are_left(database, own):
    add_users(database, 3)
    command = Command([sys.executable, "-m", "app.cli", "keys", "reseal"], environment=environment_of(own))

    done = await run_to_end(command)

    assert (done.code, "users.totp_secret_sealed: 3 resealed, 0 left" in done.output) == (0, True), done.errors
    assert len(done.output.splitlines()) == len(SEALED_COLUMNS)
    add_users(database, 1, LOST)
    done = await run_to_end(command)
    assert (done.code, "users.totp_secret_sealed: 0 resealed, 1 left" in done.output) == (1, True)
    assert re.search(r"arena: 1 values are left: .*ARENA_SECRET_KEY_PREVIOUS", done.errors)
    assert SECRET_KEY not in done.output + done.errors
