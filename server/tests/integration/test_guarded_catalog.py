"""The models of the catalog, as the settings guard them."""

from contextlib import AsyncExitStack, aclosing, suppress

import pytest

from app.config import ModelSettings, RedisSettings
from app.core.cache import make_cache
from app.domain.prompt import ChatMessage
from app.services.asking import ask
from app.services.operator_models import OperatorModels
from app.services.providers.base import ChatRequest, ModelBusy, ModelCircuitOpen, ModelUnavailable, ModelUnreachable
from bench.fake_behaviour import reply_text
from tests.fixtures.deadlines import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def make_catalog(valkey_url):
    """A catalog as one of several processes has it."""
    async with AsyncExitStack() as stack:

        def make(url, **settings):
            cache = make_cache(RedisSettings(redis_url=valkey_url))
            catalog = OperatorModels(ModelSettings(openai_base_url=url, **settings), cache)
            stack.push_async_callback(cache.aclose)
            stack.push_async_callback(catalog.close)
            return catalog

        yield make


def request(model):
    return ChatRequest(model.wire_name, [ChatMessage("user", "Go remote?")])


async def test_a_model_that_fails_again_and_again_is_left_alone_and_its_neighbour_speaks(make_catalog, server):
    catalog = make_catalog(server.base_url, model_breaker_failures=3)
    broken, neighbour = catalog.get("openai/fake?status=503"), catalog.get("openai/fake")

    for _ in range(3):
        with pytest.raises(ModelUnavailable, match="answered 503"):
            await ask(broken, request(broken))
    with pytest.raises(ModelCircuitOpen) as caught:
        await ask(broken, request(broken))

    assert 9 < caught.value.retry_after_seconds <= 10
    assert len(server.requests) == 3
    assert (await ask(neighbour, request(neighbour))).text == reply_text("fake")


async def test_a_model_that_is_well_again_is_found_by_one_probe(make_catalog, server):
    catalog = make_catalog(server.base_url, model_breaker_failures=2, model_breaker_seconds=0.2)
    model = catalog.get("openai/fake?fail_times=2&status=503")

    async def answered():
        with suppress(ModelUnavailable):
            return (await ask(model, request(model))).text

    text = await eventually(answered, 5, "the probe")

    assert text == reply_text(model.wire_name, 2)
    assert len(server.requests) == 3


async def test_a_provider_that_cannot_be_reached_is_left_alone_with_all_its_models(make_catalog):
    catalog = make_catalog("http://127.0.0.1:9/v1", model_breaker_failures=2)

    for name in ("a", "b"):
        with pytest.raises(ModelUnreachable):
            await ask(catalog.get(f"openai/{name}"), request(catalog.get(f"openai/{name}")))
    with pytest.raises(ModelCircuitOpen, match="could not be reached 2 times in a row"):
        await ask(catalog.get("openai/c"), request(catalog.get("openai/c")))


async def test_the_cap_of_the_settings_holds_over_processes(make_catalog, server):
    one, other = [
        make_catalog(server.base_url, openai_concurrency=1, openai_wait_seconds=0.3).get("openai/fake")
        for _ in range(2)
    ]

    async with aclosing(one.client.stream(request(one))) as stream:
        await anext(stream)
        with pytest.raises(ModelBusy, match="ARENA_OPENAI_CONCURRENCY"):
            await ask(other, request(other))

    assert (await ask(other, request(other))).text
