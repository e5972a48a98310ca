"""What is fetched once for all who wait, and kept for a while."""

import asyncio

import pytest

from app.core.fetched import Fetched

pytestmark = pytest.mark.anyio


class Source:
    """Gives 1, 2, 3 …, when it is let, and fails when it is told to."""

    def __init__(self) -> None:
        self.fetches = 0
        self.fails = False
        self.may_go = asyncio.Event()
        self.may_go.set()

    async def fetch(self) -> int:
        self.fetches += 1
        await self.may_go.wait()
        if self.fails:
            raise ValueError("told to")
        return self.fetches


@pytest.fixture
def now(monkeypatch):
    """The time, which stands still until it is moved."""
    time = [1000.0]
    monkeypatch.setattr("app.core.fetched.monotonic", lambda: time[0])
    return time


@pytest.fixture
async def source():
    return Source()


@pytest.fixture
async def fetched(source):
    kept = Fetched(source.fetch, kept_seconds=60, renewed_seconds=5)
    yield kept
    await kept.close()


async def test_it_is_kept_for_its_time(source, fetched, now):
    assert await fetched.get() == 1
    now[0] += 59
    assert await fetched.get() == 1
    now[0] += 1
    assert await fetched.get() == 2


async def test_it_is_renewed_before_its_time_only_so_often(fetched, now):
    assert await fetched.get() == 1
    assert await fetched.renew() == 2
    now[0] += 4
    assert await fetched.renew() == 2
    now[0] += 1
    assert await fetched.renew() == 3
    assert await fetched.get() == 3


async def test_all_who_wait_are_given_what_one_fetch_found(source, fetched):
    source.may_go.clear()
    waiting = [asyncio.create_task(fetched.get()) for _ in range(5)]
    await asyncio.sleep(0.01)
    waiting[0].cancel()
    source.may_go.set()

    assert await asyncio.gather(*waiting[1:]) == [1, 1, 1, 1]
    assert source.fetches == 1


async def test_a_failure_is_told_to_all_and_not_kept(source, fetched):
    source.fails = True
    told = await asyncio.gather(*(fetched.get() for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in told] == [ValueError] * 3
    source.fails = False

    assert await fetched.get() == 2


async def test_a_failed_renewal_leaves_what_was_kept(source, fetched):
    assert await fetched.get() == 1
    source.fails = True
    with pytest.raises(ValueError, match="told to"):
        await fetched.renew()

    assert await fetched.get() == 1


async def test_a_fetch_that_nobody_waits_for_ends_with_it(source, fetched):
    source.may_go.clear()
    waiting = asyncio.create_task(fetched.get())
    await asyncio.sleep(0.01)
    waiting.cancel()

    await fetched.close()

    assert source.fetches == 1
