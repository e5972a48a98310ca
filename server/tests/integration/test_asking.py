"""Short answers, whole: with a schema where the provider takes one."""

import pytest

from app.config import ModelSettings
from app.domain.prompt import ChatMessage
from app.services.asking import ask
from app.services.operator_models import OperatorModels
from app.services.providers.base import ChatRequest, ModelContextExceeded, ModelRejected, ModelUnavailable

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"handle": {"type": "string"}}, "required": ["handle"]}
ANSWER = "%7B%22handle%22%3A%20%22skeptic%22%7D"  # {"handle": "skeptic"}


@pytest.fixture
async def catalog(server):
    catalog = OperatorModels(ModelSettings(openai_base_url=server.base_url, model_breaker_failures=0))
    yield catalog
    await catalog.close()


def asked(model, **params):
    return ChatRequest(model.wire_name, [ChatMessage("user", "Who next?")], **{"response_schema": SCHEMA, **params})


def formats(server):
    return ["response_format" in request.body for request in server.requests]


async def test_an_answer_is_its_text_and_what_it_took(catalog, server):
    model = catalog.get(f"openai/fake?reply={ANSWER}")

    answer = await ask(model, asked(model))

    assert answer.text == '{"handle": "skeptic"}'
    assert (answer.completion_tokens, answer.cost_usd) == (2, 0.0)
    assert answer.prompt_tokens > 0
    assert formats(server) == [True]


async def test_a_provider_that_refuses_the_format_is_asked_without_and_from_then_on_at_once(catalog, server):
    name = f"openai/fake?reply={ANSWER}&reject_format"

    for _ in range(2):
        model = catalog.get(name)
        assert (await ask(model, asked(model))).text == '{"handle": "skeptic"}'

    assert formats(server) == [True, False, False]


async def test_a_format_that_is_refused_takes_the_others_from_nobody(catalog, server):
    model = catalog.get(f"openai/fake?reply={ANSWER}&reject_format")
    await ask(model, asked(model))

    for schema in [{**SCHEMA, "title": "another"}, SCHEMA]:
        await ask(model, asked(model, response_schema=schema))

    assert formats(server) == [True, False, True, False, False]


def temperatures(server):
    return [request.body.get("temperature") for request in server.requests]


async def test_a_model_that_refuses_a_temperature_is_asked_without_it_and_keeps_the_format(catalog, server):
    for _ in range(2):
        model = catalog.get(f"openai/fake?reply={ANSWER}&reject_temperature")
        assert (await ask(model, asked(model, temperature=0.0))).text == '{"handle": "skeptic"}'

    assert temperatures(server) == [0.0, 0.0, None, None]
    assert formats(server) == [True, False, False, True]


async def test_a_model_that_refuses_both_is_soon_asked_for_neither_at_once(catalog, server):
    for _ in range(3):
        model = catalog.get(f"openai/fake?reply={ANSWER}&reject_temperature&reject_format")
        await ask(model, asked(model, temperature=0.0))

    assert temperatures(server) == [0.0, 0.0, None] + [None] * 3
    assert formats(server) == [True, False, False, True, False, False]


async def test_a_temperature_is_dropped_where_there_is_no_format_to_drop(catalog, server):
    model = catalog.get(f"openai/fake?reply={ANSWER}&reject_temperature")

    await ask(model, asked(model, response_schema=None, temperature=0.0))

    assert temperatures(server) == [0.0, None]
    assert model.refuses("temperature", 0.0)


async def test_what_is_refused_without_temperature_too_says_nothing_about_it(catalog, server):
    model = catalog.get("openai/fake?status=400")

    with pytest.raises(ModelRejected):
        await ask(model, asked(model, temperature=0.0))

    assert temperatures(server) == [0.0, 0.0, None]
    assert not model.refuses("temperature", 0.0)
    assert not model.refuses("response_schema", SCHEMA)


async def test_what_is_refused_without_the_format_too_says_nothing_about_the_format(catalog, server):
    model = catalog.get("openai/fake?status=400")

    with pytest.raises(ModelRejected):
        await ask(model, asked(model))

    assert formats(server) == [True, False]
    assert not model.refuses("response_schema", SCHEMA)


@pytest.mark.parametrize(
    ("script", "kind"), [("context_tokens=1", ModelContextExceeded), ("status=503", ModelUnavailable)]
)
async def test_other_failures_are_the_callers(catalog, server, script, kind):
    model = catalog.get(f"openai/fake?{script}")

    with pytest.raises(kind):
        await ask(model, asked(model))

    assert formats(server) == [True]


async def test_tokens_that_are_not_told_are_estimated(catalog):
    model = catalog.get(f"openai/fake?reply={ANSWER}&no_usage")

    answer = await ask(model, asked(model, response_schema=None))

    assert answer.prompt_tokens > 0
    assert answer.completion_tokens > 0
