"""The caps of a provider: over all processes with Valkey, in each of them without."""

import asyncio
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from app.config import RedisSettings
from app.core.cache import make_cache
from app.domain.prompt import ChatMessage
from app.services.providers import caps as module
from app.services.providers.base import ChatRequest, ModelBusy
from app.services.providers.breaker import Breakers
from app.services.providers.caps import Caps
from app.services.providers.guarded import GuardedModel
from app.services.providers.openai_compatible import OpenAICompatibleModel
from bench.fake_model import FakeModelServer
from tests.fixtures.deadlines import eventually
from tests.fixtures.engines import breakable_valkey

pytestmark = pytest.mark.anyio


@pytest.fixture
async def make_caps(valkey_url):
    """Caps of one provider, as each of several processes has them."""
    async with AsyncExitStack() as stack:
        provider = f"provider-{uuid4().hex}"

        def make(url=valkey_url, **options):
            cache = make_cache(RedisSettings(redis_url=url))
            stack.push_async_callback(cache.aclose)
            return Caps(provider, cache, **options)

        yield make


async def begins(caps, hold=0.0):
    async with caps.slot():
        await asyncio.sleep(hold)


async def test_two_processes_together_never_call_more_often_at_once_than_the_cap(make_caps):
    async with FakeModelServer() as server:
        inner = OpenAICompatibleModel(server.base_url)
        models = [
            GuardedModel(inner, Breakers("p", 5, 10), make_caps(concurrency=3, wait_seconds=20)) for _ in range(2)
        ]
        under_way, most = 0, 0

        async def call(model):
            nonlocal under_way, most
            asked = ChatRequest("fake?tokens=5&delay_ms=10", [ChatMessage("user", "Go?")])
            stream = model.stream(asked)
            await anext(stream)
            under_way += 1
            most = max(most, under_way)
            async for _ in stream:
                pass
            under_way -= 1

        await asyncio.gather(*(call(models[number % 2]) for number in range(24)))
        await inner.close()

    assert len(server.requests) == 24
    assert most == 3


async def test_a_crowd_that_waits_neither_passes_the_cap_nor_falls_out_of_it(make_caps):
    processes = [make_caps(concurrency=4, wait_seconds=20) for _ in range(2)]
    under_way, most = 0, 0

    async def call(caps):
        nonlocal under_way, most
        async with caps.slot():
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.02)
            under_way -= 1

    await asyncio.gather(*(call(processes[number % 2]) for number in range(300)))

    assert most == 4
    assert not any(caps._alone for caps in processes)


async def test_a_call_waits_for_a_slot_only_so_long_and_then_says_which_cap_it_was(make_caps):
    one, other = make_caps(concurrency=1), make_caps(concurrency=1, wait_seconds=0.2)

    async with one.slot():
        with pytest.raises(ModelBusy, match="more than 1 calls at once, as ARENA_OPENAI_CONCURRENCY allows"):
            await begins(other)
    await begins(other)


async def test_the_slot_of_a_process_that_was_killed_lapses(make_caps):
    killed, other = make_caps(concurrency=1, lease_seconds=1), make_caps(concurrency=1, wait_seconds=5)
    assert await killed._acquire("a call that nobody gives back") is None

    started = asyncio.get_running_loop().time()
    await begins(other)

    assert 0.2 < asyncio.get_running_loop().time() - started < 4


async def test_a_slot_is_kept_for_as_long_as_the_reply_takes(make_caps):
    one = make_caps(concurrency=1, lease_seconds=1)
    other = make_caps(concurrency=1, lease_seconds=1, wait_seconds=2.5)

    async with one.slot():
        with pytest.raises(ModelBusy):
            await begins(other)


async def test_a_call_that_is_cancelled_gives_its_slot_back(make_caps):
    one, other = make_caps(concurrency=1), make_caps(concurrency=1, wait_seconds=5)
    task = asyncio.create_task(begins(one, hold=30))
    await eventually(lambda: one._under_way)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with asyncio.timeout(2):
        await begins(other)


async def test_no_more_calls_begin_within_a_window_than_the_cap(make_caps):
    processes = [make_caps(per_minute=4, window_seconds=1.0, wait_seconds=20) for _ in range(2)]
    now = asyncio.get_running_loop().time
    begun = []

    async def call(caps):
        async with caps.slot():
            begun.append(now())

    await asyncio.gather(*(call(processes[number % 2]) for number in range(12)))

    # What Valkey counted a moment earlier is seen here a moment later.
    assert all(later - earlier > 0.5 for earlier, later in zip(begun, begun[4:], strict=False))
    assert begun[-1] - begun[0] < 10


async def test_a_call_that_would_wait_too_long_for_the_window_is_told_at_once_when_to_come_back(make_caps):
    caps = make_caps(per_minute=1, wait_seconds=5)
    await begins(caps)

    with pytest.raises(ModelBusy, match="more than 1 calls a minute") as caught:
        await begins(caps)

    assert 50 < caught.value.retry_after_seconds <= 60


async def test_calls_begin_in_the_order_in_which_they_came_whichever_process_they_are_of(make_caps):
    processes = [make_caps(concurrency=1, wait_seconds=20) for _ in range(2)]
    begun = []

    async def call(number):
        async with processes[number % 2].slot():
            begun.append(number)

    async with processes[0].slot():
        waiting = []
        for number in range(12):
            waiting.append(asyncio.create_task(call(number)))
            await eventually(lambda n=number: _waiting(processes[0], n + 1))
    await asyncio.gather(*waiting)

    assert begun == list(range(12))


async def _waiting(caps, number):
    return await caps._cache.zcard(caps._keys[2]) == number


async def test_whoever_waits_no_more_leaves_its_place_to_the_next(make_caps):
    one, other = make_caps(concurrency=1), make_caps(concurrency=1, wait_seconds=5)
    async with one.slot():
        first = asyncio.create_task(begins(one))
        await eventually(lambda: _waiting(one, 1))
        second = asyncio.create_task(begins(other))
        await eventually(lambda: _waiting(one, 2))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert await _waiting(one, 1)

    async with asyncio.timeout(2):
        await second


async def test_the_place_of_a_process_that_was_killed_while_it_waited_lapses(make_caps, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.5)
    killed, other = make_caps(concurrency=1), make_caps(concurrency=1, wait_seconds=5)
    async with killed.slot():
        place = await killed._acquire("a call that does not ask again")
    assert (place.number, place.room_in) == (1, 0.0)

    started = asyncio.get_running_loop().time()
    await begins(other)

    assert 0.2 < asyncio.get_running_loop().time() - started < 4


async def test_whoever_waits_for_the_window_is_told_its_own_time_not_that_of_the_first(make_caps):
    caps = make_caps(per_minute=2, window_seconds=100.0)
    for number in range(2):
        assert await caps._acquire(f"begun {number}") is None

    rooms = [(await caps._acquire(f"waiting {number}")).room_in for number in range(5)]

    assert rooms == [pytest.approx(expected, abs=5) for expected in (100, 100, 200, 200, 300)]


async def test_entries_from_a_clock_set_back_do_not_block_anybody(make_caps):
    caps = make_caps(concurrency=1, per_minute=1, wait_seconds=2)
    for key in caps._keys:
        await caps._cache.zadd(key, {"from the future": 9e15})

    await begins(caps)


async def test_without_valkey_each_process_keeps_to_the_cap_for_itself(make_caps, data_folder):
    async with breakable_valkey(data_folder) as valkey:
        caps = make_caps(valkey.url, concurrency=2, wait_seconds=0.3)
        async with caps.slot():
            valkey.kill()
            async with caps.slot():
                with pytest.raises(ModelBusy):
                    await begins(caps)
            await begins(caps)


async def test_a_valkey_that_comes_back_empty_learns_of_the_calls_under_way(make_caps, data_folder):
    async with breakable_valkey(data_folder) as valkey:
        one = make_caps(valkey.url, concurrency=1, lease_seconds=1)
        other = make_caps(valkey.url, concurrency=1, wait_seconds=0.3)
        async with one.slot():
            valkey.kill()
            await valkey.start()
            await eventually(lambda: other._cache.zcard(other._keys[0]), 5, "the renewal")

            with pytest.raises(ModelBusy):
                await begins(other)


async def test_without_a_cap_valkey_is_not_asked():
    cache = make_cache(RedisSettings(redis_url="redis://127.0.0.1:1/0"))
    caps = Caps("p", cache)

    async with caps.slot():
        assert not cache.connection_pool._available_connections
    assert not caps._alone
    await cache.aclose()
