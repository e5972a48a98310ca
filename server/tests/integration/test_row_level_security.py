"""Row-level security: what PostgreSQL itself shows to the application, whatever a query forgets to ask."""

from contextlib import contextmanager
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import text

from app.config import DatabaseSettings
from app.core.database import make_engine, scope_to
from app.models import Base
from tests.factories.discussions import discussion_body, seats
from tests.factories.providers import PROVIDER_KEY
from tests.fixtures.databases import rows

pytestmark = pytest.mark.anyio

TENANT_TABLES = sorted(name for name, table in Base.metadata.tables.items() if "workspace_id" in table.columns)
OF_CONTENT = sorted({*TENANT_TABLES} - {"memberships", "audit_events"})
"""Those that a transaction without a workspace sees nothing of."""
FILLED = (
    "agents",
    "agent_versions",
    "discussions",
    "discussion_events",
    "knowledge_bases",
    "documents",
    "participants",
    "messages",
    "providers",
    "tool_servers",
)


@pytest.fixture
async def engine(shared_database):
    engine = make_engine(DatabaseSettings(database_url=shared_database, database_pool_size=1), "test")
    yield engine
    await engine.dispose()


@pytest.fixture
async def furnished(make_user, make_agent, make_base, make_document):
    """Two people, each with some of everything."""
    people = [await make_user(), await make_user("Mallory")]
    for person in people:
        agent = await make_agent(by=person)
        base = await make_base(by=person)
        await make_document(base=base, by=person)
        made = await person.http.post(
            "/api/v1/discussions", json=discussion_body(participants=seats(agent), start=False)
        )
        assert made.status_code == 201, made.text
        words = {"content": "Among us."}
        said = await person.http.post(f"/api/v1/discussions/{made.json()['id']}/messages", json=words)
        assert said.status_code == 201, said.text
        kept = {"name": "Claude", "kind": "anthropic", "api_key": PROVIDER_KEY}
        provider = await person.http.post("/api/v1/ai/providers", json=kept)
        assert provider.status_code == 201, provider.text
        server = {"name": "weather", "transport": "http", "url": "http://127.0.0.1:1/mcp", "token": PROVIDER_KEY}
        assert (await person.http.post("/api/v1/ai/tool-servers", json=server)).status_code == 201
    return people


@contextmanager
def acting_as_the_application(url: str):
    with psycopg.connect(url, autocommit=True, options="-c role=arena_app") as connection:
        yield connection


def test_every_table_of_tenants_has_a_policy(shared_database):
    protected = rows(
        shared_database,
        "SELECT c.relname FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid"
        " WHERE c.relrowsecurity AND c.relkind = 'r'",
    )

    assert {*TENANT_TABLES, "workspaces"} <= {name for (name,) in protected}


def test_the_application_cannot_bypass_a_policy_nor_own_a_table(shared_database):
    [(may_bypass,)] = rows(shared_database, "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = 'arena_app'")
    owned = rows(
        shared_database,
        "SELECT relname FROM pg_class WHERE relowner = 'arena_app'::regrole"
        " UNION SELECT proname FROM pg_proc WHERE proowner = 'arena_app'::regrole",
    )

    assert not may_bypass
    assert not owned


async def test_whoever_logs_in_acts_as_the_application(engine):
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT current_user")) == "arena_app"


@pytest.mark.parametrize("table", FILLED)
async def test_a_query_that_forgets_the_workspace_sees_one_workspace(engine, furnished, table):
    for person in furnished:
        async with engine.connect() as connection:
            await scope_to(connection, UUID(person.workspace_id))
            seen = (await connection.execute(text(f"SELECT DISTINCT workspace_id::text FROM {table}"))).scalars().all()

        assert seen == [person.workspace_id]


@pytest.mark.parametrize("table", OF_CONTENT)
async def test_without_a_workspace_nothing_is_seen(engine, furnished, table):
    async with engine.connect() as connection:
        await scope_to(connection, None)

        assert await connection.scalar(text(f"SELECT count(*) FROM {table}")) == 0


async def test_the_workspace_does_not_outlive_its_transaction(engine, furnished):
    """Of a connection of the pool, of which there is one here."""
    async with engine.connect() as connection:
        await scope_to(connection, UUID(furnished[0].workspace_id))
        assert await connection.scalar(text("SELECT count(*) FROM agents")) == 1
    async with engine.connect() as connection:
        await scope_to(connection, None)

        assert await connection.scalar(text("SELECT count(*) FROM agents")) == 0


@pytest.mark.parametrize("options", [{}, {"isolation_level": "AUTOCOMMIT"}], ids=["transaction", "autocommit"])
async def test_every_statement_of_a_unit_of_work_is_scoped(engine, furnished, options):
    async with engine.execution_options(**options).connect() as connection:
        await scope_to(connection, UUID(furnished[0].workspace_id))

        seen = [await connection.scalar(text("SELECT count(*) FROM agents")) for _ in range(8)]

    assert seen == [1] * 8


async def test_after_a_failed_statement_the_next_is_scoped_again(engine, furnished):
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await scope_to(connection, UUID(furnished[0].workspace_id))
        with pytest.raises(Exception, match="division by zero"):
            await connection.scalar(text("SELECT 1 / 0"))

        assert await connection.scalar(text("SELECT count(*) FROM agents")) == 1


@pytest.mark.parametrize("table", FILLED)
async def test_rows_of_others_cannot_be_changed_or_deleted(shared_database, furnished, table):
    mine, other = furnished
    with acting_as_the_application(shared_database) as connection, connection.transaction():
        connection.execute("SELECT set_config('arena.workspace_id', %s, true)", [mine.workspace_id])
        condition = "WHERE workspace_id = %s"

        deleted = connection.execute(f"DELETE FROM {table} {condition}", [other.workspace_id])
        changed = connection.execute(
            f"UPDATE {table} SET workspace_id = workspace_id {condition}", [other.workspace_id]
        )

        assert (deleted.rowcount, changed.rowcount) == (0, 0)


async def test_a_row_cannot_be_given_to_another_workspace(shared_database, furnished):
    mine, other = furnished
    with acting_as_the_application(shared_database) as connection:
        with pytest.raises(errors.InsufficientPrivilege), connection.transaction():
            connection.execute("SELECT set_config('arena.workspace_id', %s, true)", [mine.workspace_id])
            connection.execute("UPDATE agents SET workspace_id = %s", [other.workspace_id])
        with pytest.raises(errors.InsufficientPrivilege), connection.transaction():
            connection.execute("SELECT set_config('arena.workspace_id', %s, true)", [mine.workspace_id])
            connection.execute(
                "INSERT INTO knowledge_bases (id, name, workspace_id) VALUES (%s, 'Planted', %s)",
                [uuid4(), other.workspace_id],
            )


async def test_memberships_of_other_workspaces_are_not_seen_from_inside_one(engine, furnished):
    async with engine.connect() as connection:
        await scope_to(connection, UUID(furnished[0].workspace_id))
        seen = (await connection.execute(text("SELECT workspace_id::text FROM memberships"))).scalars().all()

    assert seen == [furnished[0].workspace_id]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET action = 'nothing'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
        "ALTER TABLE agents DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON agents",
        "CREATE FUNCTION arena_workspace() RETURNS uuid LANGUAGE sql AS $$ SELECT NULL::uuid $$",
        "UPDATE alembic_version SET version_num = '0001'",
        "DROP TABLE agents",
    ],
)
def test_the_application_cannot_undo_its_own_guards(shared_database, statement):
    with acting_as_the_application(shared_database) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement)


@pytest.mark.parametrize("statement", ["UPDATE audit_events SET action = 'x'", "DELETE FROM audit_events"])
def test_not_even_the_owner_changes_the_audit_log_by_mistake(fresh_database, statement):
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        connection.execute("INSERT INTO audit_events (id, action, outcome) VALUES (%s, 'test', 'success')", [uuid4()])

        with pytest.raises(errors.InsufficientPrivilege, match="only added to"):
            connection.execute(statement)


def test_only_the_application_may_look_across_workspaces_by_its_narrow_functions(shared_database):
    open_to_all = rows(
        shared_database,
        "SELECT proname FROM pg_proc WHERE prosecdef AND starts_with(proname, 'arena_')"
        " AND has_function_privilege('public', oid, 'EXECUTE')",
    )
    loose = rows(
        shared_database,
        "SELECT proname FROM pg_proc WHERE prosecdef AND starts_with(proname, 'arena_') AND proconfig IS NULL",
    )

    assert not open_to_all
    assert not loose, "a function that runs as the owner must not look names up on its caller's path"


def test_each_policy_says_what_it_should(shared_database):
    """A table that no test fills is held to the words of its policy."""
    here = "( SELECT arena_workspace() AS arena_workspace)"
    policies = dict(rows(shared_database, "SELECT tablename::text, qual FROM pg_policies WHERE policyname = 'tenant'"))

    assert {policies[table] for table in OF_CONTENT} == {f"(workspace_id = {here})"}
    for table, column in (("workspaces", "id"), ("memberships", "workspace_id"), ("audit_events", "workspace_id")):
        assert policies[table] == f"(({here} IS NULL) OR ({column} = {here}))"
    assert policies["daily_spending"] == f"((scope <> 'workspace'::text) OR (scope_id = {here}))"
    assert policies.keys() == {*OF_CONTENT, "workspaces", "memberships", "audit_events", "daily_spending"}
