"""Coroutines begun without a task: they go on as if a task had run them from their start."""

import asyncio

import pytest

from app.core.begun import Begun, begin

pytestmark = pytest.mark.anyio


async def test_one_that_waits_for_nothing_is_done_at_once():
    done = []

    async def work():
        done.append(1)

    assert begin(work()) is None
    assert done == [1]


async def test_one_that_waits_is_begun_and_goes_on_in_whoever_awaits_it():
    steps, future, second = [], asyncio.get_running_loop().create_future(), asyncio.Event()

    async def work():
        steps.append("begun")
        steps.append(await future)
        await asyncio.sleep(0)
        await second.wait()
        steps.append("done")

    begun = begin(work())
    assert isinstance(begun, Begun)
    assert steps == ["begun"]

    async def finish():
        await begun

    task = asyncio.create_task(finish())
    await asyncio.sleep(0)
    future.set_result("given")
    second.set()
    async with asyncio.timeout(5):
        await task
    assert steps == ["begun", "given", "done"]


async def test_what_it_waited_for_may_have_come_before_it_is_awaited():
    future, seen = asyncio.get_running_loop().create_future(), []

    async def work():
        seen.append(await future)

    begun = begin(work())
    future.set_result("early")
    async with asyncio.timeout(5):
        await begun
    assert seen == ["early"]


@pytest.mark.parametrize("cleans_up_slowly", [False, True])
async def test_a_cancelled_one_is_told_so_and_may_clean_up(cleans_up_slowly):
    told = []

    async def work():
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise
        finally:
            if cleans_up_slowly:
                await asyncio.sleep(0.01)
            told.append("clean")

    begun = begin(work())

    async def finish():
        await begun

    task = asyncio.create_task(finish())
    await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert told == ["cancelled", "clean"]


async def test_one_that_does_not_mind_its_cancellation_goes_on():
    async def work():
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        done.append(1)

    done, begun = [], begin(work())

    async def finish():
        await begun

    task = asyncio.create_task(finish())
    await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(5):
        await task
    assert done == [1]


async def test_what_it_raises_at_once_is_raised_where_it_was_begun():
    async def work():
        raise LookupError("at once")

    with pytest.raises(LookupError, match="at once"):
        begin(work())


async def test_what_it_raises_later_is_raised_where_it_is_awaited():
    future = asyncio.get_running_loop().create_future()

    async def work():
        await future
        raise AssertionError("not reached")

    begun = begin(work())
    future.set_exception(LookupError("later"))
    async with asyncio.timeout(5):
        with pytest.raises(LookupError, match="later"):
            await begun


async def test_one_that_is_given_up_cleans_up():
    clean = []

    async def work():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            clean.append(1)

    begin(work()).close()

    assert clean == [1]
