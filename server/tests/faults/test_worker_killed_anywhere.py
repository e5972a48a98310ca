"""kill -9 of a worker at any point of a turn: before the call, mid-stream, and a hair before or after the commit."""

import asyncio
import random
import time
from contextlib import contextmanager

import psycopg
import pytest

from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually
from tests.fixtures.trial import MOST_SECONDS_TO_THE_NEXT_TOKEN

pytestmark = pytest.mark.anyio

SEED = 20_261_124
KILLS = 3
# Discussions of different paces are at as many points of a turn whenever the axe falls.
PACES = {
    "mostly within the call": [f"tokens=12&delay_ms={20 + 4 * n}&first_ms={60 * n}" for n in range(10)],
    "mostly around the commit": [f"tokens=2&first_ms={3 + n}" for n in range(4)],
}
LOCKED_OUT = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%%discussions%%'"
)


@pytest.mark.parametrize("scripts", PACES.values(), ids=PACES)
async def test_workers_killed_at_random_points_lose_nothing_and_repeat_nothing(
    scripts, trial, place, models, start_worker, start_workers
):
    dice = random.Random(SEED)
    workers = await start_workers(2, place.settings)
    opened = await trial.open(*models(*scripts), turns=None)
    await asyncio.gather(*(witness.until("message.delta", 20) for witness in opened))

    recoveries = []
    for _ in range(KILLS):
        replacement = await start_worker(place.settings, wait=False)
        await asyncio.sleep(dice.uniform(0, 0.5))
        doomed = trial.busiest(workers)
        struck = trial.driven_by(doomed)
        doomed.kill()
        killed = time.perf_counter()
        assert struck
        workers = [worker for worker in workers if worker is not doomed] + [replacement]
        await asyncio.gather(*(witness.say("Who was that?") for witness in struck[:3]))
        recoveries += await trial.recover(killed, struck)
        await replacement.ready()
    await trial.stop_all()
    await trial.acquit()

    assert recoveries
    assert max(recoveries) <= MOST_SECONDS_TO_THE_NEXT_TOKEN
    assert trial.of_type("turn.failed") == []


@contextmanager
def kept_from_writing(database, discussion_id):
    """Hold the discussion's row, so that its driver's commit is sent and waits."""
    with psycopg.connect(database) as held:
        held.execute("SELECT 1 FROM discussions WHERE id = %s FOR UPDATE", [discussion_id])
        yield


@pytest.mark.parametrize(
    "commits, retried",
    [pytest.param(False, 2, id="just before its commit"), pytest.param(True, 3, id="just after its commit")],
)
async def test_a_worker_killed_while_its_commit_is_under_way_leaves_a_whole_turn_or_none(
    commits, retried, trial, place, models, start_workers
):
    """PostgreSQL finishes what a dead client has sent, or has not got it: of both the driver's heir must make sense."""
    workers = await start_workers(2, place.settings)
    [witness] = await trial.open(*models("tokens=8&delay_ms=150"), turns=4)
    await witness.until("message.delta", 10, turn=2)
    doomed = trial.busiest(workers)
    with kept_from_writing(trial.database, witness.discussion_id):
        [(backend,)] = await eventually(lambda: rows(trial.database, LOCKED_OUT), 5, "the commit")
        doomed.kill()
        killed = time.perf_counter()
        if not commits:
            rows(trial.database, "SELECT pg_terminate_backend(%s)", backend)
            await eventually(lambda: not rows(trial.database, LOCKED_OUT), 5, "the end of the commit")
    recoveries = await trial.recover(killed, [witness])
    await trial.acquit()

    assert [event["turn"] for event in trial.of_type("turn.retried")] == [retried]
    assert max(recoveries) <= MOST_SECONDS_TO_THE_NEXT_TOKEN
