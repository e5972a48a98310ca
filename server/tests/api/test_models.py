"""The list of models, and providers that are tried."""

import json

import pytest

from tests.factories.providers import PROVIDER_KEY
from tests.fixtures.problems import problem
from tests.fixtures.scripted_server import PREFIX, Reply, ScriptedServer, Stream, refusal

pytestmark = pytest.mark.anyio

MODELS, PROVIDERS = "/api/v1/ai/models", "/api/v1/ai/providers"


@pytest.fixture
def listing():
    """A provider that says which models it has."""
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def make_own(make_provider, listing):
    async def make(name="own", **changes):
        return await make_provider(name, **{"kind": "openai_compatible", "base_url": listing.url + PREFIX} | changes)

    return make


def offering(*names):
    return Reply({"object": "list", "data": [{"id": name} for name in names]})


async def test_all_models_of_the_workspace_are_listed_with_what_is_known_of_them(client, make_own, listing):
    listing.on("GET", "/models", offering("big", "text-embed", "a b", "x" * 300))
    await make_own()

    page = (await client.get(MODELS)).json()

    found = {model["id"]: model for model in page["items"]}
    assert list(found) == sorted(found)
    assert found.keys() >= {"openai/fake", "own/big", "own/text-embed", "local/wordllama-256"}
    assert not any(" " in name or len(name) > 200 for name in found)
    assert found["own/big"]["provider"] == "own"
    assert found["own/big"]["context_tokens"] == 8192
    assert found["own/big"]["prices"] is None
    assert found["own/big"]["capabilities"] == {
        **{"chat": True, "embeddings": False, "tools": True, "response_schema": True, "streaming": True}
    }
    assert found["own/text-embed"]["capabilities"]["embeddings"] is True
    assert found["local/wordllama-256"]["capabilities"]["chat"] is False
    assert page["unavailable"] == []


async def test_prices_and_context_windows_are_known_by_the_providers_kind(client, make_provider):
    await make_provider("claude", kind="anthropic")

    page = (await client.get(MODELS, params={"limit": 200})).json()

    model = next(model for model in page["items"] if model["id"] == "claude/claude-sonnet-4-5")
    assert model["prices"] == {"input_usd_per_million": 3.0, "output_usd_per_million": 15.0}
    assert model["context_tokens"] > 100_000


async def test_a_provider_that_fails_is_named_and_hides_nobody_elses_models(client, make_own, listing):
    listing.on("GET", "/models", Reply(b"{}", 500))
    await make_own("broken")

    page = (await client.get(MODELS)).json()

    assert "openai/fake" in {model["id"] for model in page["items"]}
    [broken] = page["unavailable"]
    assert (broken["provider"], broken["code"]) == ("broken", "model_unavailable")


async def test_a_model_that_refuses_one_schema_is_still_listed_as_taking_them(client, make_own, listing):
    chunk = {"choices": [{"index": 0, "delta": {"content": "{}"}, "finish_reason": "stop"}]}
    said = Stream([f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()])
    listing.on("GET", "/models", offering("big"))
    listing.on("POST", "/chat/completions", Reply({"error": {"message": "bad schema"}}, 400), said)
    await make_own()
    asking = {
        "model": "own/big",
        "messages": [{"role": "user", "content": "Go?"}],
        "response_schema": {"type": "object"},
    }

    answer = await client.post("/api/v1/ai/chat", json=asking)

    assert answer.json()["parsed"] == {}, answer.text
    assert ["response_format" in one.json for one in listing.of("/chat/completions")] == [True, False]
    [big] = [model for model in (await client.get(MODELS)).json()["items"] if model["id"] == "own/big"]
    assert big["capabilities"]["response_schema"] is True


async def test_the_list_comes_in_pages_and_providers_are_not_asked_for_each(client, make_own, listing):
    listing.on("GET", "/models", offering(*(f"m{number}" for number in range(7))))
    await make_own()
    seen, cursor = [], None

    while True:
        page = (await client.get(MODELS, params={"limit": 3} | ({"cursor": cursor} if cursor else {}))).json()
        seen += [model["id"] for model in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == sorted(set(seen))
    assert {f"own/m{number}" for number in range(7)} <= set(seen)
    assert len(listing.of("/models")) == 1
    problem(await client.get(MODELS, params={"cursor": "bm9uZQ"}), 422, "bad_cursor")


async def test_another_workspaces_models_are_not_listed(stranger, make_own, listing):
    listing.on("GET", "/models", offering("big"))
    await make_own()

    page = (await stranger.http.get(MODELS)).json()

    assert not [model for model in page["items"] if model["provider"] == "own"]


async def test_a_provider_that_answers_tells_its_models(client, make_own, listing):
    listing.on("GET", "/models", offering("big", "small"))
    provider = await make_own()

    answer = await client.post(f"{PROVIDERS}/{provider['id']}/test")

    assert answer.status_code == 200, answer.text
    assert (answer.json()["ok"], answer.json()["models"]) == (True, ["own/big", "own/small"])
    assert answer.json()["latency_ms"] > 0
    assert listing.asked[0].headers["authorization"] == f"Bearer {PROVIDER_KEY}"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (refusal(401, "x", f"wrong key {PROVIDER_KEY}"), "provider_refused_key"),
        (refusal(403, "x"), "provider_refused_key"),
        (refusal(404, "x"), "provider_failed"),
        (refusal(500, "x"), "provider_failed"),
        (Reply(b"no json"), "provider_failed"),
    ],
)
async def test_a_provider_that_fails_its_trial_is_named_and_its_key_is_not(client, make_own, listing, reply, code):
    listing.on("GET", "/models", reply)
    provider = await make_own("mine")

    answer = await client.post(f"{PROVIDERS}/{provider['id']}/test")

    assert "'mine'" in problem(answer, 424, code)["detail"]
    assert PROVIDER_KEY not in answer.text


async def test_a_provider_where_nobody_is_cannot_be_reached(client, make_own):
    provider = await make_own("mine", base_url="http://127.0.0.1:9/v1")

    answer = await client.post(f"{PROVIDERS}/{provider['id']}/test")

    assert "'mine'" in problem(answer, 424, "provider_unreachable")["detail"]


async def test_another_workspaces_provider_is_not_there_to_be_tried(stranger, make_own):
    provider = await make_own()

    problem(await stranger.http.post(f"{PROVIDERS}/{provider['id']}/test"), 404, "not_found")
