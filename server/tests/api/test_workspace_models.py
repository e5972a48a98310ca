"""Agents that speak through providers of their own workspace."""

import asyncio
import time
from collections import Counter

import pytest
from sqlalchemy import Engine, event

from tests.factories.agents import agent_body
from tests.fixtures.deadlines import eventually
from tests.fixtures.problems import problem
from tests.fixtures.viewer import parse_frame

pytestmark = pytest.mark.anyio

PROVIDERS = "/api/v1/ai/providers"
KEY, OTHER_KEY = "sk-first-0123456789abcdef", "sk-second-0123456789abcde"


@pytest.fixture
def make_own(owner, make_provider, fake_model):
    """A provider at the fake server, under the name that its models begin with."""

    async def make(name="own", *, by=owner, key=KEY, **changes):
        url = {"base_url": fake_model.base_url, "kind": "openai_compatible"} | changes
        return await make_provider(name, by=by, api_key=key, **url)

    return make


async def preview(http, agent):
    response = await http.post(f"/api/v1/agents/{agent['id']}/preview", json={"message": "Hello?"})
    return [parse_frame(f"id: 0\n{frame}") for frame in response.text.split("\n\n") if frame]


def keys_sent(fake_model, script):
    """The keys that came with requests for models of that name, in order."""
    bearers = [one.headers.get("authorization") for one in fake_model.requests if one.model == f"fake?{script}"]
    return [bearer.removeprefix("Bearer ") for bearer in bearers]


async def test_an_agent_speaks_by_its_workspaces_own_provider_with_its_key(client, make_own, make_agent, fake_model):
    await make_own()
    agent = await make_agent(model="own/fake?tokens=8&key=own-speaks")

    *_, completed = await preview(client, agent)

    assert completed.type == "message.completed"
    assert keys_sent(fake_model, "tokens=8&key=own-speaks") == [KEY]


async def test_two_workspaces_with_providers_of_one_name_use_each_their_own_key(
    owner, stranger, make_own, make_agent, fake_model
):
    await make_own()
    await make_own(by=stranger, key=OTHER_KEY)
    agents = {
        person: await make_agent(by=person, model=f"own/fake?tokens=8&key=two-{number}")
        for number, person in enumerate((owner, stranger))
    }

    for person, agent in agents.items():
        await preview(person.http, agent)

    assert [keys_sent(fake_model, f"tokens=8&key=two-{number}") for number in (0, 1)] == [[KEY], [OTHER_KEY]]


async def test_another_workspaces_provider_is_unknown(stranger, make_own):
    await make_own()

    refused = await stranger.http.post("/api/v1/agents", json=agent_body(model="own/fake"))

    fault = problem(refused, 422, "unknown_model")
    assert fault["errors"][0]["loc"] == ["body", "model"]


async def test_a_key_that_is_changed_is_used_within_two_seconds_and_cuts_no_reply(
    client, make_own, make_agent, make_discussion, fake_model
):
    provider = await make_own()
    script = "tokens=10&delay_ms=15&key=rotated"
    agents = [await make_agent(name, model=f"own/fake?{script}") for name in ("Skeptic", "Optimist")]
    discussion = await make_discussion(agents=agents, limits={"max_turns": 200})
    await eventually(lambda: len(keys_sent(fake_model, script)) > 3, 10, "some turns")

    await client.patch(f"{PROVIDERS}/{provider['id']}", json={"api_key": OTHER_KEY})
    changed_at = time.monotonic()
    sent_since = await eventually(lambda: OTHER_KEY in keys_sent(fake_model, script), 10, "the new key")
    took = time.monotonic() - changed_at
    await asyncio.sleep(0.5)
    sent = keys_sent(fake_model, script)

    await client.post(f"/api/v1/discussions/{discussion.id}/stop")
    log = (await client.get(f"/api/v1/discussions/{discussion.id}/events?limit=200")).json()["items"]
    assert sent_since
    assert took < 2.5
    assert KEY not in sent[sent.index(OTHER_KEY) :]
    assert Counter(one["type"] for one in log)["turn.retried"] == 0


async def test_a_provider_that_is_gone_is_unknown_at_once_and_to_a_running_discussion_soon(
    client, make_own, make_agent, make_discussion, fake_model
):
    provider = await make_own()
    script = "tokens=10&delay_ms=15&key=gone"
    agents = [await make_agent(name, model=f"own/fake?{script}") for name in ("Skeptic", "Optimist")]
    discussion = await make_discussion(agents=agents, limits={"max_turns": 500})
    await eventually(lambda: len(keys_sent(fake_model, script)) > 3, 10, "some turns")

    await client.delete(f"{PROVIDERS}/{provider['id']}")

    problem(await client.post("/api/v1/agents", json=agent_body("Third", model="own/fake")), 422, "unknown_model")

    async def paused():
        return (await client.get(f"/api/v1/discussions/{discussion.id}")).json()["status"] == "paused"

    await eventually(paused, 10, "the pause")
    page = (await client.get(f"/api/v1/discussions/{discussion.id}/events?limit=200")).json()["items"]
    assert [one["data"]["code"] for one in page if one["type"] == "turn.failed"] == ["unknown_model"]


async def test_a_key_that_the_provider_refuses_is_told_without_the_key(client, make_own, make_agent):
    await make_own()
    agent = await make_agent(model="own/fake?status=401&leak_key")

    events = await preview(client, agent)

    assert [(one.type, one.data["code"]) for one in events] == [("error", "model_unauthorized")]
    assert KEY not in str(events)
    assert "127.0.0.1" in events[0].data["detail"]


async def test_embeddings_of_the_workspaces_own_provider(client, stranger, make_own, fake_model):
    await make_own()
    body = {"model": "own/fake?dimensions=5&key=embeds", "input": "a claim"}

    answer = (await client.post("/api/v1/ai/embeddings", json=body)).json()

    assert (answer["model"], answer["dimensions"]) == (body["model"], 5)
    assert keys_sent(fake_model, "dimensions=5&key=embeds") == [KEY]
    problem(await stranger.http.post("/api/v1/ai/embeddings", json=body), 422, "unknown_model")


@pytest.mark.parametrize("name", ["local", "openai", "replay", "my  own", "a/b", "x" * 65, " own", "a\u3000b", ""])
async def test_a_name_that_no_model_could_begin_with_is_refused(client, fake_model, name):
    body = {"name": name, "kind": "openai_compatible", "base_url": fake_model.base_url}

    problem(await client.post(PROVIDERS, json=body), 422, "validation_failed")


async def test_a_provider_of_an_older_release_is_found_under_a_name_with_hyphens(
    client, make_own, make_agent, sql, fake_model
):
    provider = await make_own()
    sql("UPDATE providers SET name = 'My own / best', updated_at = now() WHERE id = %s", provider["id"])
    body = agent_body(model="My-own-best/fake?tokens=8&key=older")

    async def made():
        response = await client.post("/api/v1/agents", json=body)
        return response.json() if response.status_code == 201 else None

    await preview(client, await eventually(made, 5, "the agent"))

    assert keys_sent(fake_model, "tokens=8&key=older") == [KEY]


async def test_a_kind_that_is_not_there_fails_its_own_calls_alone(client, make_own, make_provider, make_agent):
    await make_own()
    await make_provider("elsewhere", kind="groq", base_url="http://127.0.0.1:1/v1")

    broken, well = await make_agent(model="elsewhere/llama"), await make_agent("Well", model="own/fake?tokens=8")

    assert [one.type for one in await preview(client, broken)] == ["error"]
    assert (await preview(client, well))[-1].type == "message.completed"


async def test_turns_ask_the_database_for_providers_only_now_and_then(client, make_own, make_agent, make_discussion):
    await make_own()
    agents = [await make_agent(name, model="own/fake?tokens=8") for name in ("Skeptic", "Optimist")]
    asked = Counter()

    def note(_connection, _cursor, statement, *_):
        asked["state"] += "arena_provider_state" in statement
        asked["rows"] += "FROM providers" in statement

    event.listen(Engine, "before_cursor_execute", note)
    began = time.monotonic()
    try:
        discussion = await make_discussion(agents=agents, limits={"max_turns": 100})

        async def ended():
            return (await client.get(f"/api/v1/discussions/{discussion.id}")).json()["status"] == "ended"

        await eventually(ended, 20, "the end")
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    seconds = time.monotonic() - began

    # The API and the worker ask each for itself.
    assert asked["state"] <= 2 * (2 + 2 * seconds)
    assert asked["rows"] <= 4
