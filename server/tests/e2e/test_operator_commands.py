"""What an operator does on the server itself: accounts, and the age of the audit log."""

import asyncio
import os
import subprocess
import sys

import psycopg
import pytest

from tests.fixtures.databases import rows
from tests.fixtures.people import log_in
from tests.fixtures.problems import problem

pytestmark = pytest.mark.anyio


@pytest.fixture
def arena_command(tmp_path, fresh_database):
    """Runs `arena` on the database of the test's own; what it printed, or on failure what it complained of."""

    async def run(*arguments, fails=False):
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "app.cli", *arguments],
            env={**os.environ, "ARENA_DATA_DIR": str(tmp_path), "ARENA_DATABASE_URL": fresh_database},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout

    return run


async def test_an_operator_lists_disables_and_enables_accounts(workerless, make_user, arena_command, fresh_database):
    person = await make_user("Ada Byron", at=workerless)
    assert await arena_command("user", "list", "byron") == f"{person.email}\tAda Byron\n"

    await arena_command("user", "disable", person.email.upper())

    assert await arena_command("user", "list") == f"{person.email}\tAda Byron\tdisabled\n"
    await asyncio.sleep(1.1)  # what a process may remember of a session
    problem(await person.http.get("/api/v1/auth/me"), 401, "session_ended")
    await arena_command("user", "enable", person.email)
    del person.http.headers["Authorization"]
    assert await log_in(person.http, person.email)
    told = rows(
        fresh_database,
        "SELECT action, user_id, address FROM audit_events WHERE action LIKE %s ORDER BY id",
        "user.%abled",
    )
    assert told == [("user.disabled", None, None), ("user.enabled", None, None)]


async def test_the_last_superuser_is_not_disabled_by_an_operator_either(
    workerless, make_user, arena_command, fresh_database
):
    person = await make_user(at=workerless)
    rows(fresh_database, "UPDATE users SET is_superuser = true")

    assert "somebody has to administer" in await arena_command("user", "disable", person.email, fails=True)
    assert "no account" in await arena_command("user", "enable", "nobody@arena.example", fails=True)

    assert rows(fresh_database, "SELECT disabled_at FROM users") == [(None,)]


async def test_the_audit_log_is_pruned_by_an_operator_and_stays_only_added_to(
    workerless, make_user, arena_command, fresh_database
):
    await make_user(at=workerless)
    rows(
        fresh_database,
        "INSERT INTO audit_events (id, created_at, action, outcome)"
        " SELECT gen_random_uuid(), '2020-01-01', 'login.succeeded', 'succeeded' FROM generate_series(1, 5)",
    )

    assert await arena_command("audit", "prune", "--before", "2021-01-01") == "deleted 5 entries\n"

    told = rows(fresh_database, "SELECT action, detail FROM audit_events ORDER BY id DESC")
    assert [action for action, _ in told] == ["audit.pruned", "login.succeeded", "user.created"]
    assert told[0][1] == {"before": "2021-01-01"}
    assert "has begun" in await arena_command("audit", "prune", "--before", "2999-01-01", fails=True)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(fresh_database, "DELETE FROM audit_events")
