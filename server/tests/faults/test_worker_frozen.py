"""Workers that freeze past their lease and wake up again, in turns: the fence holds whoever comes back when."""

import os
import signal
import time

import pytest

from tests.fixtures.deadlines import eventually
from tests.fixtures.trial import MOST_SECONDS_TO_THE_NEXT_TOKEN

pytestmark = pytest.mark.anyio

SPEAKING = ["tokens=3&first_ms=20", "tokens=10&delay_ms=40", "tokens=15&delay_ms=100", "tokens=5&first_ms=600"]


async def test_workers_that_freeze_past_their_lease_and_wake_up_mid_turn_disturb_nobody(
    trial, place, models, start_workers
):
    workers = await start_workers(2, place.settings)
    opened = await trial.open(*models(*SPEAKING), turns=None)
    for witness in opened:
        await witness.until("message.delta", 20)

    recoveries = []
    for _ in range(2):
        frozen = trial.busiest(workers)
        struck = trial.driven_by(frozen)
        assert struck
        os.kill(frozen.pid, signal.SIGSTOP)
        froze = time.perf_counter()
        recoveries += await trial.recover(froze, struck)
        os.kill(frozen.pid, signal.SIGCONT)
        await eventually(lambda frozen=frozen: frozen.said("claim_lost"), 10, "the loss of the claims")
    await trial.stop_all()
    await trial.acquit()

    assert max(recoveries) <= MOST_SECONDS_TO_THE_NEXT_TOKEN
    assert trial.of_type("turn.failed") == []
