"""What two want to end at the same moment ends once, and so the audit log tells it once."""

import asyncio

import psycopg
import pytest

from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually

pytestmark = pytest.mark.anyio

WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
ENDINGS = [
    ("sessions", "nothing", "POST auth/logout"),
    ("api_keys", "an_api_key", "DELETE auth/api-keys/{key_id}"),
    ("workspaces", "a_team", "DELETE workspaces/{team}"),
    ("agents", "an_agent", "DELETE agents/{agent}"),
    ("knowledge_bases", "a_document", "DELETE knowledge/bases/{base}"),
    ("documents", "a_document", "DELETE knowledge/documents/{document}"),
    ("discussions", "a_waiting_discussion", "DELETE discussions/{discussion}"),
    ("providers", "a_provider", "DELETE ai/providers/{provider}"),
]


@pytest.fixture
def place(workerless):
    return workerless


@pytest.fixture
def things(request, given):
    return request.getfixturevalue(given)


@pytest.mark.parametrize(("table", "given", "asked"), ENDINGS, ids=[asked for *_, asked in ENDINGS])
async def test_what_is_ended_twice_at_once_is_told_once(client, fresh_database, things, table, asked):
    method, _, path = asked.partition(" ")
    address = f"/api/v1/{path.format(**things)}"
    [(before,)] = rows(fresh_database, "SELECT count(*) FROM audit_events")

    with psycopg.connect(fresh_database) as meanwhile:
        meanwhile.execute(f"SELECT 1 FROM {table} FOR UPDATE")
        both = [asyncio.create_task(client.request(method, address)) for _ in range(2)]
        await eventually(lambda: len(rows(fresh_database, WAITING)) >= 2, 10, "both at the lock")
    statuses = sorted([(await ending).status_code for ending in both])

    assert statuses in ([204, 204], [204, 404])
    assert rows(fresh_database, "SELECT count(*) FROM audit_events") == [(before + 1,)]
