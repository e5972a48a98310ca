"""Each embedder keeps the contract, and what only it promises."""

import asyncio
import socket

import numpy as np
import pytest

from app.services.embedding.base import UnknownDimensions
from app.services.embedding.local import LocalEmbedder
from app.services.embedding.openai_compatible import EmbeddingsEndpoint, OpenAICompatibleEmbedder
from app.services.providers.base import (
    ModelContextExceeded,
    ModelDisconnected,
    ModelMalformed,
    ModelNotFound,
    ModelRateLimited,
    ModelTimedOut,
    ModelTimeouts,
    ModelUnauthorized,
    ModelUnavailable,
    ModelUnreachable,
)
from bench.fake_model import FakeModelServer
from tests.fixtures.scripted_server import PREFIX, Reply, ScriptedServer

pytest.register_assert_rewrite("tests.contracts.embedder")

from tests.contracts.embedder import LONG, EmbedderContract  # noqa: E402 - after the assert rewriting

pytestmark = pytest.mark.anyio
KEY = "sk-very-secret-0123456789"


@pytest.fixture
async def server():
    async with FakeModelServer(api_key=KEY) as server:
        yield server


@pytest.fixture
async def endpoint(server):
    endpoint = EmbeddingsEndpoint(server.base_url, KEY, ModelTimeouts(5, 0.5))
    yield endpoint
    await endpoint.close()


class TestLocal(EmbedderContract):
    @pytest.fixture(params=[256, 64])
    def embedder(self, request):
        return LocalEmbedder(request.param)

    async def test_texts_of_one_meaning_are_nearer_than_others(self):
        cat, kitten, rent = await LocalEmbedder().embed(["a cat sleeps", "a kitten naps", "we spend 40% on rent"])

        assert cat @ kitten > cat @ rent + 0.2

    async def test_a_shorter_vector_is_the_beginning_of_the_longer_one(self):
        long, short = await LocalEmbedder(256).embed(["a claim"]), await LocalEmbedder(64).embed(["a claim"])

        np.testing.assert_allclose(short[0], long[0, :64] / np.linalg.norm(long[0, :64]), atol=1e-6)
        asked = await LocalEmbedder(256).embed_counted(["a claim"], 64)
        np.testing.assert_allclose(asked.vectors, short, atol=1e-6)

    @pytest.mark.parametrize("dimensions", [1, 100, 512])
    async def test_a_length_that_it_does_not_have_is_refused(self, dimensions):
        with pytest.raises(UnknownDimensions, match="256, 128, 64"):
            await LocalEmbedder().embed_counted(["a claim"], dimensions)

    async def test_nothing_is_opened_to_the_outside(self, monkeypatch):
        # `nothing` stands for the operating system's edge: a name that is looked up would be one that is downloaded.
        def nothing(*_args, **_kwargs):
            raise AssertionError("a name was looked up")

        monkeypatch.setattr(socket, "getaddrinfo", nothing)

        assert len(await LocalEmbedder().embed(["a claim"])) == 1


class TestOpenAICompatible(EmbedderContract):
    @pytest.fixture(params=["fake", "fake?context_tokens=100&dimensions=8"])
    def embedder(self, endpoint, request):
        return OpenAICompatibleEmbedder(endpoint, request.param)

    async def test_texts_are_sent_in_calls_of_a_bounded_size(self, server, endpoint):
        await OpenAICompatibleEmbedder(endpoint, "fake").embed(["a claim"] * 200 + [LONG] * 60)

        calls = [request.body["input"] for request in server.requests]
        assert sum(map(len, calls)) == 260
        assert all(len(texts) <= 96 and sum(map(len, texts)) <= 200_000 for texts in calls)

    async def test_what_the_model_finds_too_long_is_cut_until_it_fits_and_then_at_once(self, server, endpoint):
        embedder = OpenAICompatibleEmbedder(endpoint, "fake?context_tokens=300")

        await embedder.embed([LONG])
        tries = len(server.requests)
        await embedder.embed([LONG])

        assert tries == 4
        assert len(server.requests) == 5
        assert len(server.requests[-1].body["input"][0]) == 1000

    async def test_a_model_that_refuses_whatever_there_is_is_not_asked_for_ever(self, server, endpoint):
        with pytest.raises(ModelContextExceeded):
            await OpenAICompatibleEmbedder(endpoint, "fake?context_tokens=1").embed([LONG])

        assert len(server.requests) < 10

    async def test_a_length_is_asked_of_the_provider(self, endpoint):
        embedded = await OpenAICompatibleEmbedder(endpoint, "fake").embed_counted(["a claim"], 5)

        assert embedded.vectors.shape == (1, 5)

    async def test_tokens_that_are_not_told_are_none(self, endpoint):
        assert (await OpenAICompatibleEmbedder(endpoint, "fake?no_usage").embed_counted(["a claim"])).tokens is None

    @pytest.mark.parametrize(
        ("script", "kind"),
        [
            ("status=401&leak_key", ModelUnauthorized),
            ("status=404", ModelNotFound),
            ("status=429&retry_after=7", ModelRateLimited),
            ("status=503", ModelUnavailable),
            ("hang_first", ModelTimedOut),
        ],
    )
    async def test_a_failure_has_its_type_and_tells_no_key(self, endpoint, script, kind):
        with pytest.raises(kind) as caught:
            await OpenAICompatibleEmbedder(endpoint, f"fake?{script}").embed(["a claim"])

        assert KEY not in f"{caught.value!r} {caught.value.detail}"
        assert caught.value.retry_after_seconds == (7 if kind is ModelRateLimited else None)

    async def test_nobody_there_is_said_so(self):
        endpoint = EmbeddingsEndpoint("http://127.0.0.1:9/v1")

        with pytest.raises(ModelUnreachable, match=r"127\.0\.0\.1:9 cannot be reached"):
            await OpenAICompatibleEmbedder(endpoint, "fake").embed(["a claim"])

        await endpoint.close()

    @pytest.mark.parametrize(
        "body",
        [
            *(b"{", b"[]", b'{"data": 1}', b'{"data": []}', b'{"data": [{"index": 0, "embedding": [1e400]}]}'),
            *(b'{"data": [{"index": 1, "embedding": [1.0]}]}', b'{"data": [{"index": 0, "embedding": []}]}'),
            *(b'{"data": [{"index": 0, "embedding": "AAAA"}]}', b'{"data": [{"index": 0, "embedding": [null]}]}'),
        ],
    )
    async def test_an_answer_that_is_none_is_said_so(self, body):
        with ScriptedServer() as server:
            server.on("POST", "/embeddings", Reply(body))
            endpoint = EmbeddingsEndpoint(server.url + PREFIX)
            with pytest.raises(ModelMalformed):
                await OpenAICompatibleEmbedder(endpoint, "fake").embed(["a claim"])
            await endpoint.close()

    async def test_a_connection_that_is_cut_is_said_so(self):
        async def cut(_reader, writer):
            writer.close()

        listener = await asyncio.start_server(cut, "127.0.0.1", 0)
        endpoint = EmbeddingsEndpoint(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1")

        with pytest.raises(ModelDisconnected):
            await OpenAICompatibleEmbedder(endpoint, "fake").embed(["a claim"])

        await endpoint.close()
        listener.close()
        await listener.wait_closed()
