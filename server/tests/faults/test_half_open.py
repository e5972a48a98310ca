"""A worker's connections to PostgreSQL go dead without a word: others take over, and it comes to life again."""

import logging
import time

import pytest

from tests.fixtures.half_open import IS_POSSIBLE, HalfOpenWay
from tests.fixtures.trial import MOST_SECONDS_TO_THE_NEXT_TOKEN

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not IS_POSSIBLE, reason="only Linux drops a socket's packets")]

SPEAKING = [f"tokens=10&delay_ms={60 + 10 * n}" for n in range(3)]


@pytest.fixture
def way(fresh_database):
    with HalfOpenWay(fresh_database) as way:
        yield way


def check_that_none_was_silent_for_long(witnesses, since):
    silences = [witness.longest_silence(since) for witness in witnesses]
    log.warning("longest silence after the connections went dead, s: %s", [round(seconds, 2) for seconds in silences])
    assert max(silences) <= MOST_SECONDS_TO_THE_NEXT_TOKEN


async def test_discussions_go_on_when_the_connections_of_one_worker_go_dead_and_another_is_there(
    trial, place, models, way, start_worker
):
    """Each goes on at the other, or at the first over a new connection; what the dead ones had sent changes nothing."""
    struck = await start_worker(place.settings, ARENA_DATABASE_URL=way.url)
    opened = await trial.open(*models(*SPEAKING), turns=None)
    for witness in opened:
        await witness.until("message.delta", 10, turn=2)
    await start_worker(place.settings)
    driven = trial.driven_by(struck)

    cut = way.go_dead()
    died = time.perf_counter()
    await trial.go_on(6)
    await trial.stop_all()
    await trial.acquit()

    assert set(driven) == set(opened)
    assert cut > 1
    check_that_none_was_silent_for_long(opened, died)


async def test_a_worker_alone_notices_that_its_connections_are_dead_and_goes_on_over_new_ones(
    trial, place, models, way, start_worker
):
    alone = await start_worker(place.settings, ARENA_DATABASE_URL=way.url)
    opened = await trial.open(*models(*SPEAKING), turns=6)
    for witness in opened:
        await witness.until("message.delta", 10, turn=2)

    way.go_dead()
    died = time.perf_counter()
    await trial.acquit()

    assert alone.process.poll() is None
    assert way.alive > 0
    check_that_none_was_silent_for_long(opened, died)
