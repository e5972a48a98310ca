"""A deploy: both workers are told to go, one after the other, and nobody who watches notices."""

import asyncio

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.alone]

SPEAKING = [f"tokens=10&delay_ms={30 + 10 * n}" for n in range(6)]
MOST_SECONDS_SILENT = 2.0


async def test_a_rolling_restart_of_both_workers_costs_no_turn_no_retry_and_no_pause(
    trial, place, models, start_worker, start_workers
):
    old = await start_workers(2, place.settings)
    opened = await trial.open(*models(*SPEAKING), turns=None)
    first = [await witness.until("message.delta", 20, turn=2) for witness in opened]

    ends = []
    for worker in old:
        await start_worker(place.settings)
        worker.terminate()
        await asyncio.gather(*(witness.say("Carry on.") for witness in opened))
        ends.append(await asyncio.to_thread(worker.wait, 15))
    for witness in opened:
        await witness.until("message.completed", 10, turn=witness.of_type("turn.started")[-1].data["turn"])
    await trial.stop_all()
    await trial.acquit()

    assert ends == [0, 0]
    assert trial.of_type("turn.retried") == trial.of_type("turn.failed") == []
    assert sum(len(witness.acknowledged) for witness in opened) == 2 * len(opened)
    silences = [witness.longest_silence(event.at) for witness, event in zip(opened, first, strict=True)]
    assert max(silences) < MOST_SECONDS_SILENT, silences
