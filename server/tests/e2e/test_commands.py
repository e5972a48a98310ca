"""The commands, set up wrongly: one clear sentence each, exit code 1, no traceback, no password shown."""

import os
import subprocess
import sys

import pytest

from tests.fixtures.arena import SECRET_KEY

NOWHERE = "postgresql://arena:hunter2secret@127.0.0.1:1/arena"
SECRET = {"ARENA_SECRET_KEY": SECRET_KEY}
REDIS = {"ARENA_REDIS_URL": "redis://127.0.0.1:1/0"}
NO_DATABASE = {"ARENA_DATABASE_URL": NOWHERE, **REDIS}


def run(tmp_path, *arguments, stdin="", **environment):
    """The exit code and what was said on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        env={**os.environ, "ARENA_DATA_DIR": str(tmp_path), **environment},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def check_sentence(outcome, *parts):
    code, said = outcome
    assert code == 1, said
    [sentence] = [line for line in said.splitlines() if line]
    assert sentence.startswith("arena: ")
    assert all(part in sentence for part in parts), sentence
    assert "hunter2secret" not in sentence


@pytest.mark.parametrize(
    ("command", "environment", "parts"),
    [
        (["api"], REDIS, ["ARENA_DATABASE_URL"]),
        (["worker"], REDIS, ["ARENA_DATABASE_URL"]),
        (["migrate"], {}, ["ARENA_DATABASE_URL"]),
        (["api"], NO_DATABASE, ["127.0.0.1:1/arena", "does not answer"]),
        (["worker"], NO_DATABASE, ["127.0.0.1:1/arena", "does not answer"]),
        (["migrate"], NO_DATABASE, ["127.0.0.1:1/arena", "does not answer"]),
        (["user", "create", "ada@arena.example"], NO_DATABASE, ["127.0.0.1:1/arena", "does not answer"]),
        (["api"], {"ARENA_DATABASE_URL": "mysql://arena:hunter2secret@localhost/arena", **REDIS}, ["PostgreSQL"]),
        (["api"], {"ARENA_PORT": "high"}, ["ARENA_PORT"]),
        (["worker"], {"ARENA_LEASE_SECONDS": "0"}, ["ARENA_LEASE_SECONDS"]),
        (["api"], {"ARENA_SECRET_KEY": "short"}, ["ARENA_SECRET_KEY"]),
    ],
)
def test_a_command_that_cannot_begin_says_why_in_one_sentence(tmp_path, command, environment, parts):
    check_sentence(run(tmp_path, *command, **environment), *parts)


@pytest.mark.parametrize(("command", "url"), [("api", ""), ("worker", "localhost:6379"), ("api", "http://localhost")])
def test_a_redis_url_that_is_none_is_one_sentence(tmp_path, engines, shared_database, command, url):
    environment = {"ARENA_DATABASE_URL": shared_database, "ARENA_REDIS_URL": url, "ARENA_PORT": "0", **SECRET}

    check_sentence(run(tmp_path, command, **environment), "ARENA_REDIS_URL")


def test_a_port_in_use_is_one_sentence(tmp_path, arena, shared_database):
    taken = arena.url.rpartition(":")[2]
    environment = {"ARENA_DATABASE_URL": shared_database, **REDIS, **SECRET}

    check_sentence(run(tmp_path, "api", "--port", taken, **environment), taken)


def test_a_database_without_our_tables_is_one_sentence(tmp_path, engines):
    environment = {"ARENA_DATABASE_URL": engines.database_url}

    check_sentence(run(tmp_path, "user", "create", "ada@arena.example", **environment), "arena migrate")


def test_a_schema_is_migrated_any_number_of_times(tmp_path, fresh_database):
    for _ in range(2):
        assert run(tmp_path, "migrate", ARENA_DATABASE_URL=fresh_database)[0] == 0


def test_an_account_is_created_on_the_server_itself(tmp_path, fresh_database):
    environment = {"ARENA_DATABASE_URL": fresh_database, "ARENA_REGISTRATION": "closed"}
    create = ["user", "create", "ada@arena.example", "--password-stdin"]

    assert run(tmp_path, *create, stdin="seventeen purple elephants\n", **environment)[0] == 0
    check_sentence(run(tmp_path, *create, stdin="seventeen purple elephants\n", **environment), "account")


@pytest.mark.parametrize(("email", "password"), [("nobody", "seventeen elephants"), ("a@arena.example", "short")])
def test_an_account_that_will_not_do_is_one_sentence(tmp_path, fresh_database, email, password):
    environment = {"ARENA_DATABASE_URL": fresh_database}
    outcome = run(tmp_path, "user", "create", email, "--password-stdin", stdin=password, **environment)

    check_sentence(outcome)
    assert password not in outcome[1] or password == "short"
