"""Models asked directly: whole, streamed, of a given form, and from the cache."""

import asyncio
import json
from urllib.parse import quote

import pytest

from app.core.metrics import REGISTRY
from tests.fixtures.deadlines import eventually
from tests.fixtures.problems import problem
from tests.fixtures.viewer import parse_frame

pytestmark = pytest.mark.anyio

CHAT = "/api/v1/ai/chat"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def asking(model, **changes):
    return {"model": model.name, "messages": [{"role": "user", "content": "How many?"}], **changes}


def events_in(text):
    return [parse_frame(f"id: 0\n{frame}") for frame in text.split("\n\n") if frame and not frame.startswith(":")]


async def test_an_answer_comes_whole(client, make_model):
    model = make_model("tokens=8")
    messages = [
        {"role": "system", "content": "You count."},
        {"role": "user", "content": "One."},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "Go on."},
    ]
    params = {"temperature": 0.5, "max_tokens": 50, "seed": 7, "stop": ["Ten"]}

    response = await client.post(CHAT, json=asking(model, messages=messages, params=params))

    answer = response.json()
    assert response.status_code == 200, response.text
    assert (answer["model"], answer["content"], answer["parsed"]) == (model.name, model.reply(), None)
    assert (answer["finish_reason"], answer["cached"]) == ("stop", False)
    assert answer["usage"]["completion_tokens"] == 8
    sent = model.requests[0].body
    assert sent["messages"] == messages
    assert (sent["temperature"], sent["max_tokens"], sent["seed"], sent["stop"]) == (0.5, 50, 7, ["Ten"])


async def test_an_answer_is_streamed_as_it_comes_and_comes_whole_at_the_end(client, make_model):
    model = make_model("tokens=8&delay_ms=10")

    response = await client.post(CHAT, json=asking(model, stream=True))

    *deltas, completed = events_in(response.text)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert len(deltas) > 2
    text = ""
    for delta in deltas:
        assert (delta.type, delta.data["offset"]) == ("message.delta", len(text))
        text += delta.data["text"]
    assert completed.type == "message.completed"
    assert text == completed.data["content"] == model.reply()
    assert completed.data["usage"]["completion_tokens"] == 8


async def test_a_silent_model_is_told_from_a_dead_connection(make_arena, make_user, make_model):
    place = make_arena(server={"stream_heartbeat_seconds": 0.05})
    person = await make_user(at=place)

    response = await person.http.post(CHAT, json=asking(make_model("tokens=2&first_ms=300"), stream=True))

    assert response.text.startswith(": heartbeat\n\n: heartbeat\n\n")
    assert events_in(response.text)[-1].type == "message.completed"


async def test_a_model_that_fails_is_no_fault_of_this_server(client, make_model):
    refused = make_model("status=401&leak_key")
    cut = make_model("tokens=8&disconnect_after=3&delay_ms=5")

    answer = problem(await client.post(CHAT, json=asking(refused)), 424, "model_unauthorized")
    *deltas, failed = events_in((await client.post(CHAT, json=asking(cut, stream=True))).text)

    assert answer["detail"].startswith(refused.name)
    assert deltas
    assert (failed.type, failed.data["code"]) == ("error", "model_disconnected")


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_ends_the_call_at_the_provider(owner, fake_model, make_model, stream):
    model = make_model("endless&delay_ms=10")
    before = fake_model.open_connections

    async def leave():
        async with owner.http.stream("POST", CHAT, json=asking(model, stream=stream)) as response:
            async for _ in response.aiter_bytes():
                return

    call = asyncio.create_task(leave())
    await eventually(lambda: len(model.requests) == 1, 5, "the call")
    if not stream:
        call.cancel()
    await asyncio.wait({call})

    await eventually(lambda: fake_model.open_connections <= before, 5, "the end of the call")


async def test_an_answer_of_a_given_form_is_parsed(client, make_model):
    model = make_model(f"reply={quote(json.dumps({'n': 3}))}")

    answer = (await client.post(CHAT, json=asking(model, response_schema=SCHEMA))).json()
    streamed = events_in((await client.post(CHAT, json=asking(model, response_schema=SCHEMA, stream=True))).text)

    assert answer["parsed"] == {"n": 3}
    assert json.loads(answer["content"]) == {"n": 3}
    assert model.requests[0].body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert [event.type for event in streamed] == ["message.delta", "message.completed"]
    assert streamed[-1].data["parsed"] == {"n": 3}


async def test_an_answer_that_never_fits_is_told_after_one_try_to_mend_it(client, make_model):
    model = make_model("reply=three")

    refused = await client.post(CHAT, json=asking(model, response_schema=SCHEMA))

    problem(refused, 424, "answer_unfit")
    assert len(model.requests) == 2
    assert "no JSON" in model.prompts[1][-1]["content"]


@pytest.mark.parametrize(
    ("changes", "code", "loc"),
    [
        ({"model": "nobody/x"}, "unknown_model", ["body", "model"]),
        ({"response_schema": {"type": "nonsense"}}, "bad_schema", ["body", "response_schema"]),
        ({"messages": []}, "validation_failed", ["body", "messages"]),
        ({"messages": [{"role": "tool", "content": "x"}]}, "validation_failed", ["body", "messages", 0, "role"]),
        ({"messages": [{"role": "user", "content": ""}]}, "validation_failed", ["body", "messages", 0, "content"]),
        ({"messages": [{"role": "user", "content": "x"}] * 501}, "validation_failed", ["body", "messages"]),
        ({"params": {"temperature": 3}}, "validation_failed", ["body", "params", "temperature"]),
        ({"cache": True}, "validation_failed", ["body"]),
        ({"cache": True, "params": {"temperature": 0}}, "validation_failed", ["body"]),
        ({"cache": True, "params": {"temperature": 0.1, "seed": 1}}, "validation_failed", ["body"]),
        ({"tools": []}, "validation_failed", ["body", "tools"]),
    ],
)
async def test_what_cannot_be_asked_is_refused(client, make_model, changes, code, loc):
    fault = problem(await client.post(CHAT, json=asking(make_model()) | changes), 422, code)

    assert fault["errors"][0]["loc"] == loc


REPEATABLE = {"cache": True, "params": {"temperature": 0, "seed": 7}}


def counted(outcome):
    return REGISTRY.get_sample_value("arena_cache_requests_total", {"cache": "chat", "outcome": outcome}) or 0


async def test_the_same_request_is_answered_from_the_cache_and_costs_nothing(client, make_model):
    model = make_model("tokens=8")
    hits, misses = counted("hit"), counted("miss")

    first = (await client.post(CHAT, json=asking(model, **REPEATABLE))).json()
    second = (await client.post(CHAT, json=asking(model, **REPEATABLE))).json()
    *deltas, third = events_in((await client.post(CHAT, json=asking(model, **REPEATABLE, stream=True))).text)

    assert (first["cached"], second["cached"], third.data["cached"]) == (False, True, True)
    assert first["content"] == second["content"] == third.data["content"] == deltas[0].data["text"]
    assert second["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "cost_usd": 0.0}
    assert len({first["id"], second["id"], third.data["id"]}) == 3
    assert len(model.requests) == 1
    assert (counted("hit") - hits, counted("miss") - misses) == (2, 1)


async def test_another_request_or_workspace_or_none_that_asks_for_it_is_answered_anew(client, stranger, make_model):
    model = make_model("tokens=8")
    whole = asking(model, **REPEATABLE)
    await client.post(CHAT, json=whole)

    others = [
        await client.post(CHAT, json={**whole, "cache": False}),
        await client.post(CHAT, json={**whole, "params": {"temperature": 0, "seed": 8}}),
        await client.post(CHAT, json={**whole, "messages": [{"role": "system", "content": "How many?"}]}),
        await client.post(CHAT, json={**whole, "params": {"temperature": 0, "seed": 7, "max_tokens": 5}}),
        await stranger.http.post(CHAT, json=whole),
    ]

    assert [answer.json()["cached"] for answer in others] == [False] * 5
    assert len(model.requests) == 6


async def test_an_answer_of_a_provider_that_has_changed_since_is_asked_for_anew(
    client, owner, make_provider, fake_model
):
    provider = await make_provider("own", kind="openai_compatible", base_url=fake_model.base_url)
    body = {"model": "own/fake?tokens=8&key=changed", "messages": [{"role": "user", "content": "Hi"}], **REPEATABLE}
    await client.post(CHAT, json=body)
    kept = (await client.post(CHAT, json=body)).json()

    await client.patch(f"/api/v1/ai/providers/{provider['id']}", json={"api_key": "sk-another-key-012345"})

    assert kept["cached"] is True
    assert (await client.post(CHAT, json=body)).json()["cached"] is False


async def test_an_answer_that_is_too_large_is_not_kept(make_arena, make_user, make_model):
    place = make_arena(models={"answer_cache_bytes": 1024})
    person, model = await make_user(at=place), make_model("tokens=400")
    body = asking(model, cache=True, params={"temperature": 0, "seed": 1, "max_tokens": 1000})

    answers = [(await person.http.post(CHAT, json=body)).json()["cached"] for _ in range(2)]

    assert answers == [False, False]


async def test_what_is_asked_is_paid_from_the_budgets_of_the_day(make_arena, make_user, make_model):
    place = make_arena(budgets={"workspace_tokens_per_day": 1000})
    person, model = await make_user(at=place), make_model("tokens=8")
    small = asking(model, params={"max_tokens": 100})

    answer = (await person.http.post(CHAT, json=small)).json()
    refused = await person.http.post(CHAT, json=asking(model, params={"max_tokens": 990}))

    usage = (await person.http.get("/api/v1/usage")).json()["workspace"]
    assert usage["tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
    problem(refused, 409, "no_budget_left")
    assert len(model.requests) == 1


async def test_a_stream_that_is_left_is_paid_for_as_far_as_it_came(make_arena, make_user, make_model):
    place = make_arena(budgets={"workspace_tokens_per_day": 100_000})
    person, model = await make_user(at=place), make_model("endless&delay_ms=10")
    body = asking(model, stream=True, params={"max_tokens": 20_000})

    async with person.http.stream("POST", CHAT, json=body) as response:
        async for _ in response.aiter_bytes():
            break

    async def tokens():
        spent = (await person.http.get("/api/v1/usage")).json()["workspace"]["tokens"]
        return 0 < spent < 2_000

    await eventually(tokens, 5, "what is given back")
