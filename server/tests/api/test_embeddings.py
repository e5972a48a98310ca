"""Texts as vectors over HTTP."""

import math

import pytest

from tests.fixtures.problems import problem

pytestmark = pytest.mark.anyio

EMBEDDINGS = "/api/v1/ai/embeddings"
LOCAL = "local/wordllama-256"


async def test_texts_become_vectors_in_their_order(client):
    response = await client.post(EMBEDDINGS, json={"model": LOCAL, "input": ["a cat", "a kitten", "the rent"]})

    document = response.json()
    assert response.status_code == 200, response.text
    assert (document["model"], document["dimensions"]) == (LOCAL, 256)
    assert [one["index"] for one in document["data"]] == [0, 1, 2]
    assert all(math.isclose(math.hypot(*one["embedding"]), 1, abs_tol=1e-5) for one in document["data"])
    assert document["usage"]["prompt_tokens"] > 3


async def test_one_text_needs_no_list_and_may_be_asked_for_in_another_length(client):
    body = {"model": LOCAL, "input": "a cat", "dimensions": 64}

    document = (await client.post(EMBEDDINGS, json=body)).json()

    assert document["dimensions"] == len(document["data"][0]["embedding"]) == 64


async def test_the_operators_endpoint_embeds_too(client):
    document = (await client.post(EMBEDDINGS, json={"model": "openai/fake?dimensions=7", "input": ["a", "b"]})).json()

    assert (document["dimensions"], len(document["data"])) == (7, 2)
    assert document["usage"] == {"prompt_tokens": 2}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"model": "local/wordllama-512"}, "unknown_model"),
        ({"model": "nobody/model"}, "unknown_model"),
        ({"model": "no-provider"}, "validation_failed"),
        ({"dimensions": 100}, "unknown_dimensions"),
        ({"dimensions": 0}, "validation_failed"),
        ({"input": ""}, "validation_failed"),
        ({"input": []}, "validation_failed"),
        ({"input": ["x"] * 257}, "validation_failed"),
        ({"input": "x" * 8001}, "validation_failed"),
        ({"input": "a\x00b"}, "validation_failed"),
        ({"input": 7}, "validation_failed"),
        ({"inputs": "x"}, "validation_failed"),
    ],
)
async def test_what_cannot_be_embedded_is_refused(client, body, code):
    problem(await client.post(EMBEDDINGS, json={"model": LOCAL, "input": "a cat", **body}), 422, code)


async def test_a_provider_that_fails_is_no_fault_of_this_server(client):
    body = {"model": "openai/fake?status=401", "input": "a cat"}
    problem(await client.post(EMBEDDINGS, json=body), 424, "model_unauthorized")
    busy = await client.post(EMBEDDINGS, json={**body, "model": "openai/fake?status=429&retry_after=7"})
    problem(busy, 424, "model_rate_limited")
    assert busy.headers["Retry-After"] == "7"
