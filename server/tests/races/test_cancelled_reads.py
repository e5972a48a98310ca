"""Whoever leaves while a connection is taken for them takes none along."""

import asyncio
from contextlib import suppress

import psycopg.waiting
import pytest

from app.core.ids import new_id

pytestmark = pytest.mark.anyio


async def test_a_read_that_is_cancelled_at_any_step_leaves_the_pool_whole(fresh_uow, monkeypatch):
    # psycopg lets others run when nobody did for so long; here always.
    monkeypatch.setattr(psycopg.waiting, "MAX_BUSY_TIME", 0)

    async def read():
        async with fresh_uow.reading(new_id()) as work:
            await work.ping()

    await read()  # which connects
    for steps in range(20):
        reading = asyncio.create_task(read())
        for _ in range(steps):
            await asyncio.sleep(0)
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading

        assert fresh_uow._engine.pool.checkedout() == 0
