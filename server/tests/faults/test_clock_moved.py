"""A worker whose clock jumps by hours, forwards and back: leases go by the database's clock, so nothing happens."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.fixtures.deadlines import eventually
from tests.fixtures.receivers import is_signed
from tests.fixtures.trial import MOST_SECONDS_TO_THE_NEXT_TOKEN

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed (Debian: apt-get install libfaketime)"),
]

SPEAKING = [f"tokens=8&delay_ms={30 + 20 * n}" for n in range(4)]
MOST_SECONDS_SILENT = 2.0


@pytest.fixture
def clock(tmp_path):
    """The offset of the wall clock of the processes that are given `faked(clock)`; theirs alone."""
    offset = tmp_path / "clock"
    offset.write_text("+0")
    return offset


def faked(clock):
    return {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def hours_ahead(worker):
    """By how much the worker's newest line is ahead of our clock, to the hour."""
    said = datetime.fromisoformat(worker.lines()[-1]["timestamp"])
    return round((said - datetime.now(UTC)).total_seconds() / 3600)


@pytest.mark.alone
@pytest.mark.parametrize("moved", ["+2h", "-2h"])
async def test_nothing_happens_to_discussions_when_a_workers_clock_is_moved_mid_turn(
    moved, trial, place, models, clock, start_worker
):
    odd = await start_worker(place.settings, **faked(clock))
    opened = await trial.open(*models(*SPEAKING), turns=None)
    first = [await witness.until("message.delta", 10, turn=2) for witness in opened]
    driven = trial.driven_by(odd)
    other = await start_worker(place.settings)

    clock.write_text(moved)
    await eventually(lambda: hours_ahead(odd) == int(moved[:2]), 10, "a line of the worker in its new time")
    await trial.go_on(4)
    assert odd.said("claim_lost") == other.said("claim_lost") == []
    await trial.stop_all()
    await trial.acquit()

    assert set(driven) == set(opened)
    assert trial.of_type("turn.retried") == trial.of_type("turn.failed") == []
    silences = [witness.longest_silence(event.at) for witness, event in zip(opened, first, strict=True)]
    assert max(silences) < MOST_SECONDS_SILENT, silences


async def test_a_worker_two_hours_ahead_is_taken_for_dead_when_it_is_and_not_before(
    trial, place, models, clock, start_worker
):
    clock.write_text("+2h")
    odd = await start_worker(place.settings, **faked(clock))
    opened = await trial.open(*models(*SPEAKING), turns=None)
    for witness in opened:
        await witness.until("message.delta", 10, turn=2)
    await start_worker(place.settings)
    struck = trial.driven_by(odd)

    odd.kill()
    killed = time.perf_counter()
    recoveries = await trial.recover(killed, struck)
    await trial.stop_all()
    await trial.acquit()

    assert len(recoveries) == len(struck) > 0
    assert len(trial.of_type("turn.retried")) == len(struck)
    assert max(recoveries) <= MOST_SECONDS_TO_THE_NEXT_TOKEN


async def test_a_limit_in_seconds_is_not_met_by_a_clock_that_jumps(trial, place, models, clock, start_worker):
    await start_worker(place.settings, **faked(clock))
    limits = {"max_turns": 8, "max_seconds": 600}
    [witness] = await trial.open(*models("tokens=8&delay_ms=60"), turns=8, limits=limits)
    await witness.until("message.delta", 10, turn=2)

    clock.write_text("+2h")

    await trial.acquit()


async def test_a_webhook_of_a_worker_two_hours_ahead_is_signed_at_the_true_time(
    make_external, make_discussion, person, place, clock, start_worker, receiver
):
    clock.write_text("+2h")
    odd = await start_worker(place.settings, **faked(clock))
    agent = await make_external(by=person)
    await make_discussion(by=person, agents=[agent])

    call = await receiver.called()

    assert hours_ahead(odd) == 2
    assert is_signed(call, agent.webhook_secret)
