"""Jobs that a dead worker had in hand: whatever it left in the queue, every discussion goes on."""

import asyncio
import time

import psycopg
import pytest

from tests.fixtures.arena import working
from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually

pytestmark = pytest.mark.anyio

COUNT = 12
DEAD = "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 minute') RETURNING id"
COLUMNS = "queue_name, task_name, priority, lock, queueing_lock, args, attempts"


@pytest.fixture
async def owner(make_user, workerless):
    return await make_user(at=workerless)


@pytest.fixture
async def discussions(make_discussion, make_agent):
    """Running discussions whose jobs nobody has fetched yet."""
    agent = await make_agent()
    return [await make_discussion(agents=[agent]) for _ in range(COUNT)]


async def check_that_all_end(database, seconds=12):
    ended = "SELECT count(*) FROM discussions WHERE status = 'ended' AND end_reason = 'max_turns'"
    await eventually(lambda: rows(database, ended) == [(COUNT,)], seconds, "the end of all")
    per_turn = "SELECT count(*) FROM messages GROUP BY discussion_id, turn"
    assert rows(database, per_turn) == [(1,)] * 2 * COUNT
    left = "SELECT status::text, count(*) FROM procrastinate_jobs GROUP BY 1"
    await eventually(lambda: rows(database, left) == [], 5, "an empty queue")


async def test_what_a_dead_worker_had_in_hand_is_taken_up_by_others(workerless, discussions, fresh_database, keep):
    [(dead,)] = rows(fresh_database, DEAD)
    rows(fresh_database, "UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s", dead)

    for _ in range(2):
        await asyncio.to_thread(keep, working(workerless.settings))

    await check_that_all_end(fresh_database)


async def test_two_dead_jobs_of_one_discussion_do_not_stop_the_recovery_of_any(
    workerless, discussions, fresh_database, keep
):
    """One of them waited for the other's lease when both died."""
    [(dead,)] = rows(fresh_database, DEAD)
    twin = f"INSERT INTO procrastinate_jobs ({COLUMNS}, status) SELECT {COLUMNS}, 'doing' FROM procrastinate_jobs"
    rows(fresh_database, "UPDATE procrastinate_jobs SET status = 'doing'")
    rows(fresh_database, twin)
    rows(fresh_database, "UPDATE procrastinate_jobs SET worker_id = %s", dead)

    for _ in range(2):
        await asyncio.to_thread(keep, working(workerless.settings))

    await check_that_all_end(fresh_database)


async def test_a_running_discussion_without_any_job_is_found(workerless, discussions, fresh_database, keep):
    rows(fresh_database, "DELETE FROM procrastinate_jobs")

    await asyncio.to_thread(keep, working(workerless.settings))

    await check_that_all_end(fresh_database)


async def test_a_job_that_comes_twice_takes_no_turn_twice(workerless, discussions, fresh_database, keep):
    twin = f"INSERT INTO procrastinate_jobs ({COLUMNS}, status) SELECT {COLUMNS}, 'doing' FROM procrastinate_jobs"
    rows(fresh_database, twin)

    await asyncio.to_thread(keep, working(workerless.settings))

    await check_that_all_end(fresh_database)


async def test_one_discussion_that_is_locked_holds_up_no_other(
    workerless, make_agent, make_discussion, make_model, fresh_database, keep
):
    """A command's transaction that is stuck on one row, for longer than every lease."""
    slow = await make_agent(model=make_model("tokens=60&delay_ms=100").name)
    stuck, free = [await make_discussion(agents=[slow], limits={"max_turns": 1}) for _ in range(2)]
    await asyncio.to_thread(keep, working(workerless.settings))
    spoken = "SELECT count(*) FROM discussion_events WHERE type = 'turn.started'"
    await eventually(lambda: rows(fresh_database, spoken) == [(2,)], 5, "both turns")
    began = time.monotonic()
    with psycopg.connect(fresh_database) as held:
        held.execute("SELECT 1 FROM discussions WHERE id = %s FOR UPDATE", [stuck.id])
        ended = "SELECT status FROM discussions WHERE id = %s"
        await eventually(lambda: rows(fresh_database, ended, free.id) == [("ended",)], 20, "the other's end")

    assert time.monotonic() - began > 3
    assert rows(fresh_database, "SELECT 1 FROM discussion_events WHERE type = 'turn.retried'") == []


async def test_a_worker_whose_job_was_taken_from_it_ends_it_quietly_and_goes_on(
    workerless, make_agent, make_discussion, make_model, fresh_database, start_worker
):
    """It was thought dead, or the queue was cleared: the turn counts, and its log says what became of the job."""
    worker = await start_worker(workerless.settings)
    slow = await make_agent(model=make_model("tokens=20&delay_ms=50").name)
    first = await make_discussion(agents=[slow], limits={"max_turns": 1})
    spoken = "SELECT count(*) FROM discussion_events WHERE type = 'turn.started'"
    await eventually(lambda: rows(fresh_database, spoken) == [(1,)], 10, "the turn")

    rows(fresh_database, "DELETE FROM procrastinate_jobs")

    ended = "SELECT end_reason FROM discussions WHERE id = %s"
    await eventually(lambda: rows(fresh_database, ended, first.id) == [("max_turns",)], 10, "the end")
    next_one = await make_discussion(agents=[slow], limits={"max_turns": 1})
    await eventually(lambda: rows(fresh_database, ended, next_one.id) == [("max_turns",)], 10, "the next one's end")
    worker.terminate()
    assert worker.wait() == 0
    assert [line["task"] for line in worker.said("job_end_not_recorded")] == ["drive_discussion"]
    assert [line for line in worker.lines() if line["level"] not in ("info", "warning")] == []
