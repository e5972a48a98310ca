"""What makes a discussion runnable queues its driver, in the same transaction; nothing else does."""

import pytest

from app.domain.discussion import Status
from tests.fixtures.databases import rows

pytestmark = pytest.mark.anyio


@pytest.fixture
async def owner(make_user, workerless):
    return await make_user(at=workerless)


@pytest.fixture
def queued(fresh_database):
    """The discussions that a driver's job waits for, with the jobs' priorities."""
    query = "SELECT args ->> 'discussion_id', priority FROM procrastinate_jobs WHERE status = 'todo' ORDER BY id"
    return lambda: rows(fresh_database, query)


async def test_a_discussion_that_runs_at_once_has_one_job(make_discussion, queued):
    discussion = await make_discussion()

    assert queued() == [(discussion.id, 10)]


async def test_what_may_wait_has_a_lower_priority(make_discussion, queued):
    discussion = await make_discussion(priority="background")

    assert queued() == [(discussion.id, 0)]


@pytest.mark.parametrize("status", [Status.DRAFT, Status.WAITING, Status.ENDED])
async def test_what_does_not_run_has_no_job(make_discussion, queued, status):
    await make_discussion(status=status)

    assert queued() == []


async def test_a_draft_has_its_job_from_its_start(client, make_discussion, queued):
    draft = await make_discussion(status=Status.DRAFT)

    await client.post(f"/api/v1/discussions/{draft.id}/start")

    assert queued() == [(draft.id, 10)]


async def test_a_person_who_had_the_floor_wakes_the_agents(client, make_discussion, queued):
    waiting = await make_discussion(status=Status.WAITING)

    await client.post(f"/api/v1/discussions/{waiting.id}/messages", json={"content": "Begin."})

    assert queued() == [(waiting.id, 10)]


async def test_an_interjection_queues_no_second_job(client, make_discussion, queued):
    discussion = await make_discussion()

    await client.post(f"/api/v1/discussions/{discussion.id}/messages", json={"content": "Wait!"})

    assert queued() == [(discussion.id, 10)]


async def test_a_refused_step_queues_nothing(client, make_discussion, queued):
    ended = await make_discussion(status=Status.ENDED)

    await client.post(f"/api/v1/discussions/{ended.id}/start")

    assert queued() == []


async def test_an_idle_discussion_holds_no_claim(make_discussion, fresh_database):
    await make_discussion(status=Status.WAITING)

    assert rows(fresh_database, "SELECT lease_owner, lease_until, epoch FROM discussions") == [(None, None, 0)]
