"""The OpenAI-compatible client keeps the contract, and what only it promises."""

import asyncio
import datetime
import email.utils
import gzip
import ipaddress
import json
import re
import socket
import time
from collections import Counter
from contextlib import ExitStack, aclosing, asynccontextmanager, suppress

import pytest
from aiohttp.client_proto import ResponseHandler
from cryptography import x509

from app.core.address_guard import AddressGuard
from app.core.public_addresses import Allowance
from app.domain.prompt import ChatMessage
from app.services.providers import openai_compatible
from app.services.providers.base import (
    ChatRequest,
    Finished,
    ModelAddressForbidden,
    ModelDisconnected,
    ModelMalformed,
    ModelNotFound,
    ModelRejected,
    ModelTimedOut,
    ModelTimeouts,
    ModelUnavailable,
    ModelUnreachable,
    TextDelta,
)
from app.services.providers.openai_compatible import OpenAICompatibleModel
from app.services.providers.pace import Pace
from bench.fake_behaviour import reply_text
from bench.fake_model import FakeModelServer
from tests.fixtures.certificates import certify

pytest.register_assert_rewrite("tests.contracts.chat_model")

from tests.contracts.chat_model import (  # noqa: E402 - after the assert rewriting
    PATIENT,
    ChatModelContract,
    request,
    settles,
)
from tests.contracts.fake_provider import KEY, Subject  # noqa: E402

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server():
    async with FakeModelServer() as server:
        yield server


@pytest.fixture
def timeouts() -> ModelTimeouts:
    return PATIENT


@pytest.fixture
async def subject(server, timeouts):
    model = OpenAICompatibleModel(server.base_url, KEY, timeouts)
    yield Subject(model, server)
    await model.close()


@pytest.fixture
def model(subject):
    return subject.model


class TestContract(ChatModelContract):
    """Every promise of the port."""


async def reply(model, name, **params):
    items = [item async for item in model.stream(request(name, **params))]
    assert isinstance(items[-1], Finished)
    return "".join(item.text for item in items[:-1]), items[-1]


async def test_only_given_parameters_are_sent(model, server):
    await reply(model, "fake?tokens=1")
    full = ChatRequest("fake?tokens=1", [ChatMessage("user", "é")], 9, 0.0, 0.5, 0, ("END",))
    assert [item async for item in model.stream(full)]

    bare, given = (received.body for received in server.requests)
    assert bare.keys() == {"model", "stream", "stream_options", "messages"}
    assert bare["stream_options"] == {"include_usage": True}
    assert bare["messages"][0] == {"role": "system", "content": "You doubt."}
    assert (given["max_tokens"], given["temperature"], given["top_p"], given["seed"]) == (9, 0.0, 0.5, 0)
    assert (given["stop"], given["messages"]) == (["END"], [{"role": "user", "content": "é"}])


async def test_a_schema_is_sent_as_a_strict_response_format(model, server):
    schema = {"type": "object", "properties": {"handle": {"type": "string"}}}
    asked = ChatRequest("fake?tokens=1", [ChatMessage("user", "Who?")], response_schema=schema)
    assert [item async for item in model.stream(asked)]

    assert server.requests[0].body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }


@pytest.mark.parametrize("chunk_tokens", [8, 1000])
async def test_a_limit_that_is_ignored_in_large_chunks_is_enforced_by_estimate(model, chunk_tokens):
    name = f"fake?tokens=1000&ignore_max_tokens&chunk_tokens={chunk_tokens}"

    text, end = await reply(model, name, max_tokens=20)

    assert end.finish_reason == "length"
    assert reply_text(name).startswith(text)
    assert 60 < len(text.split()) < 150


async def test_a_reply_that_ends_at_its_limit_keeps_its_usage_and_its_connection(model, server):
    for _ in range(2):
        text, end = await reply(model, "fake", max_tokens=5)

        assert (len(text.split()), end.finish_reason, end.completion_tokens) == (5, "length", 5)
    assert server.accepted == 1


async def test_the_key_travels_in_the_authorization_header_only_when_there_is_one(model, server):
    keyless = OpenAICompatibleModel(server.base_url)
    await reply(model, "fake")
    await reply(keyless, "fake")
    await keyless.close()

    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert "authorization" not in server.requests[1].headers


async def test_tokens_that_arrive_together_are_one_delta(model):
    items = [item async for item in model.stream(request("fake"))]

    assert len(items) <= 4


@pytest.mark.parametrize(
    "name", ["fake", "fake?tokens=9&delay_ms=1", "fake?tokens=4&slow_write=99&late_end", "fake?status=500"]
)
async def test_a_connection_is_used_again(model, server, name, monkeypatch):
    monkeypatch.setattr(openai_compatible, "_AFTER_DONE_SECONDS", 0.5)  # a busy machine is no late end
    for _ in range(3):
        with suppress(ModelUnavailable):
            await reply(model, name)

    assert (len(server.requests), server.accepted) == (3, 1)


@pytest.mark.parametrize(
    "form", ["crlf", "cr", "no_space", "comments", "ascii", "no_done", "no_finish", "slow_write=3"]
)
async def test_forms_of_the_stream_do_not_change_the_text(model, form):
    name = f"fake?tokens=6&unicode&{form}"

    text, end = await reply(model, name)

    assert text == reply_text(name)
    assert (end.finish_reason, end.completion_tokens) == ("stop", 6)


async def test_a_reply_without_any_end_mark_is_incomplete(model):
    with pytest.raises(ModelDisconnected):
        await reply(model, "fake?no_done&no_finish")


async def test_a_whole_reply_stands_although_the_stream_never_ends(server):
    hasty = OpenAICompatibleModel(server.base_url, KEY, ModelTimeouts(5, 5, 0.2, 10))

    text, _ = await reply(hasty, "fake?tokens=2&hang_end")

    assert text == reply_text("fake?tokens=2&hang_end")
    await hasty.close()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(model, server, status):
    with pytest.raises(ModelRejected, match=f"{status}.*not followed"):
        await reply(model, f"fake?status={status}")

    assert len(server.requests) == 1


async def test_retry_after_may_be_a_date(model):
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=90)
    header = email.utils.format_datetime(moment, usegmt=True).replace(" ", "%20")

    with pytest.raises(Exception, match="429") as caught:
        await reply(model, f"fake?status=429&retry_after={header}")

    assert 80 < caught.value.retry_after_seconds <= 90


@pytest.mark.parametrize("header", ["soon", "-5", "nan", "inf", ""])
async def test_a_strange_retry_after_does_no_harm(model, header):
    with pytest.raises(Exception, match="429") as caught:
        await reply(model, f"fake?status=429&retry_after={header}")

    assert caught.value.retry_after_seconds in {None, 0}


async def test_the_detail_names_the_host_and_quotes_the_provider_briefly(model, server):
    with pytest.raises(ModelRejected) as caught:
        await reply(model, "fake?status=422&message=" + "Sorry%0A" * 13)

    assert caught.value.detail.startswith(f"127.0.0.1:{server.port} answered 422: Sorry Sorry")

    with pytest.raises(ModelRejected) as caught:
        await reply(model, "fake?status=422&message_bytes=5000")

    assert 300 < len(caught.value.detail) < 350


async def test_a_document_instead_of_a_stream_is_malformed(model):
    with pytest.raises(ModelMalformed, match="application/json instead of a stream"):
        await reply(model, "fake?json")


async def test_a_line_over_a_mebibyte_is_malformed(model):
    with pytest.raises(ModelMalformed, match="too long"):
        await reply(model, "fake?tokens=1&token_bytes=1100000")


async def test_a_prompt_over_a_mebibyte_is_sent_whole(model, server):
    long = ChatRequest("fake", [ChatMessage("user", "ü" * 700_000)])

    assert [item async for item in model.stream(long)]
    assert server.requests[0].body["messages"][0]["content"] == "ü" * 700_000


async def test_a_connection_closed_before_any_answer_is_tried_once_more(model, server):
    text, _ = await reply(model, "fake?drop&fail_times=1")

    assert text
    assert len(server.requests) == 2


async def test_a_provider_that_never_answers_a_request_is_disconnected(model):
    with pytest.raises(ModelDisconnected, match="closed the connection without an answer"):
        await reply(model, "fake?drop")


async def test_a_refused_connection_is_unavailable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = OpenAICompatibleModel(f"http://127.0.0.1:{port}/v1", KEY)

    with pytest.raises(ModelUnavailable, match=rf"127\.0\.0\.1:{port} cannot be reached"):
        await reply(model, "fake")

    await model.close()


async def test_a_host_that_does_not_take_connections_times_out_in_the_connect_phase():
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)  # with its queue full the kernel ignores whoever knocks
        for queued in (first, second):
            queued.setblocking(False)
            queued.connect_ex(deaf.getsockname())
        model = OpenAICompatibleModel(f"http://127.0.0.1:{deaf.getsockname()[1]}/v1", KEY, ModelTimeouts(0.2, 5, 5, 5))

        with pytest.raises(ModelTimedOut) as caught:
            await reply(model, "fake")

        assert caught.value.phase == "connect"
        await model.close()


async def test_what_is_no_http_is_malformed():
    async def gibber(_, writer):
        writer.write(b"220 mail ready\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(gibber, "127.0.0.1") as server:
        model = OpenAICompatibleModel(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", KEY)
        with pytest.raises(ModelMalformed, match="HTTP"):
            await reply(model, "fake")
        await model.close()


async def test_keep_alive_comments_do_not_count_as_tokens(server):
    hasty = OpenAICompatibleModel(server.base_url, KEY, ModelTimeouts(5, 5, 0.2, 10))

    with pytest.raises(ModelTimedOut) as caught:
        await reply(hasty, "fake?hang_after=1&chatter")

    assert caught.value.phase == "idle"
    await hasty.close()


async def test_the_environments_proxy_is_not_used(model, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    assert (await reply(model, "fake"))[0]


async def test_after_close_nothing_is_open_and_a_new_call_opens_anew(model, server):
    await reply(model, "fake")
    await model.close()
    assert await settles(lambda: server.open_connections == 0)

    await model.close()
    assert (await reply(model, "fake"))[0]


async def test_a_model_made_outside_a_loop_can_be_used_in_one(server):
    model = await asyncio.to_thread(OpenAICompatibleModel, server.base_url, KEY)

    async with aclosing(model.stream(request("fake"))) as stream:
        assert isinstance(await anext(stream), TextDelta)
    await model.close()


async def test_models_are_listed(model, server):
    assert await model.list_models() == ["fake"]

    wrong = OpenAICompatibleModel(server.base_url.replace("/v1", "/nowhere"), KEY)
    with pytest.raises(ModelNotFound):
        await wrong.list_models()
    await wrong.close()


@pytest.mark.parametrize("script", ["tokens=200&delay_ms=1&unicode&split_utf8", "tokens=200&unicode"])
async def test_what_is_said_among_many_arrives_whole_in_fewer_pieces(server, script):
    pace = Pace()
    model = OpenAICompatibleModel(server.base_url, KEY, PATIENT, pace)
    name = f"fake?{script}"
    with ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(pace.speaking())
        told = [one async for one in model.stream(request(name))]
    await model.close()

    pieces = [one.text for one in told if isinstance(one, TextDelta)]
    assert "".join(pieces) == reply_text(name, 0)
    assert len(pieces) < 100
    assert isinstance(told[-1], Finished)


@pytest.fixture
def flow(monkeypatch):
    """How often a connection's reading was paused, and how often aiohttp went about resuming it."""
    calls = Counter()

    def count(name):
        do = getattr(ResponseHandler, name)

        def counted(self, *arguments):
            calls[name] += 1
            return do(self, *arguments)

        monkeypatch.setattr(ResponseHandler, name, counted)

    count("pause_reading")
    count("resume_reading")
    return calls


async def test_nothing_is_resumed_that_was_not_paused(model, flow):
    text, _ = await reply(model, "fake?tokens=200&delay_ms=1")

    assert text
    assert flow["pause_reading"] == flow["resume_reading"] == 0


def tokens_of(text, length):
    for begin in range(0, len(text), length):
        delta = {"content": text[begin : begin + length]}
        yield b"data: %b\n\n" % json.dumps({"choices": [{"delta": delta}]}).encode()
    yield b"data: [DONE]\n\n"


IN_CHUNKS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


async def send_in_chunks(writer, pieces):
    writer.write(IN_CHUNKS)
    for piece in pieces:
        writer.write(chunk(piece))
        await writer.drain()
    writer.write(b"0\r\n\r\n")


async def send_until_the_end(writer, pieces):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    writer.write(b"".join(pieces))


async def send_compressed(writer, pieces):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n")
    writer.write(b"Connection: close\r\n\r\n" + gzip.compress(b"".join(pieces)))


@pytest.mark.parametrize("send", [send_in_chunks, send_until_the_end, send_compressed])
async def test_what_comes_faster_than_it_is_taken_waits_and_arrives_whole(send, flow):
    said = "".join(f"{number:07} " for number in range(100_000))

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await send(writer, tokens_of(said, 200))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        model = OpenAICompatibleModel(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", KEY, PATIENT)
        taken = []
        async for item in model.stream(request("fake")):
            taken.append(item)
            if len(taken) < 30:
                await asyncio.sleep(0.01)
        await model.close()

    assert "".join(item.text for item in taken[:-1]) == said
    assert flow["pause_reading"] > 0, "nothing had to wait"
    assert flow["resume_reading"] > 0


@pytest.fixture
def tls(tmp_path, monkeypatch):
    """What a server of 127.0.0.1 needs to be trusted by our clients in this test."""
    serving, trusting = certify(x509.IPAddress(ipaddress.ip_address("127.0.0.1")), tmp_path)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    return serving


@pytest.fixture
def crowded():
    """A pace among so many speakers that each rests for as long as any does."""
    pace = Pace()
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(pace.speaking())
        yield pace


@asynccontextmanager
async def provider(answer):
    """Answers each request of its connections; gives its address and how many connections there were."""
    opened = []

    async def serve(reader, writer):
        opened.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(re.search(rb"Content-Length: (\d+)", head)[1]))
                await answer(writer)

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", opened
        for writer in opened:
            writer.close()


async def test_a_connection_is_used_again_though_the_end_comes_apart_from_the_last_word(crowded):
    first, last, done = tokens_of("one two ", 4)

    async def answer(writer):
        writer.write(IN_CHUNKS + chunk(first))
        await asyncio.sleep(0.05)
        writer.write(chunk(last + done))
        await asyncio.sleep(0.02)
        writer.write(b"0\r\n\r\n")

    async with provider(answer) as (address, opened):
        model = OpenAICompatibleModel(address, KEY, PATIENT, crowded)
        for _ in range(3):
            assert (await reply(model, "fake"))[0] == "one two "
        await model.close()

    assert len(opened) == 1


async def test_one_who_is_not_listened_to_is_not_silent(crowded):
    async def answer(writer):
        writer.write(IN_CHUNKS)
        for token in tokens_of("one two three four ", 4):
            writer.write(chunk(token))
            await asyncio.sleep(0.06)
        writer.write(b"0\r\n\r\n")

    async with provider(answer) as (address, _):
        model = OpenAICompatibleModel(address, KEY, ModelTimeouts(5, 5, 0.1, 10), crowded)
        assert (await reply(model, "fake"))[0] == "one two three four "
        await model.close()


async def test_what_follows_a_flood_of_tiny_chunks_is_not_left_in_the_parser(flow):
    said = "".join(f"{number:07} " for number in range(2_000))
    data = b"".join(tokens_of(said, 4))
    flood, last = data[:-200], data[-200:]

    async def answer(writer):
        writer.write(IN_CHUNKS + b"".join(chunk(flood[at : at + 8]) for at in range(0, len(flood), 8)))
        await asyncio.sleep(1)
        writer.write(chunk(last[:100]) + chunk(last[100:]) + b"0\r\n\r\n")

    async with provider(answer) as (address, _):
        model = OpenAICompatibleModel(address, KEY, ModelTimeouts(5, 5, 3, 10))
        taken = []
        async for item in model.stream(request("fake")):
            taken.append(item)
            if len(taken) == 1:
                await asyncio.sleep(0.5)
        await model.close()

    assert "".join(item.text for item in taken[:-1]) == said
    assert flow["pause_reading"] > 0, "it was no flood"


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})], ids=["uvloop"])
async def test_the_last_words_are_kept_of_an_encrypted_connection_that_ends_during_a_rest(crowded, tls, anyio_backend):
    first, second, third, done = tokens_of("one two end ", 4)

    def answer(listener):
        """Ends its connection as many do, without a word of TLS about it."""
        with tls.wrap_socket(listener.accept()[0], server_side=True) as connection:
            connection.recv(65536)
            for piece in (IN_CHUNKS + chunk(first), chunk(second), chunk(third) + chunk(done) + b"0\r\n\r\n"):
                time.sleep(0.1)
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = asyncio.create_task(asyncio.to_thread(answer, listener))
        model = OpenAICompatibleModel(f"https://127.0.0.1:{listener.getsockname()[1]}/v1", KEY, PATIENT, crowded)
        assert (await reply(model, "fake"))[0] == "one two end "
        await model.close()
        await answering


@pytest.fixture
async def make_guarded(server):
    """A model behind a workspace's URL: of that host, and with what the operator allows."""
    made = []

    def make(host: str, allow: str | None) -> OpenAICompatibleModel:
        guard = AddressGuard(Allowance.parse(allow))
        model = OpenAICompatibleModel(server.base_url.replace("127.0.0.1", host), KEY, PATIENT, guard=guard)
        made.append((model, guard))
        return model

    yield make
    for model, guard in made:
        await model.close()
        await guard.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "private.example"])
async def test_a_workspaces_provider_must_not_be_at_a_private_address(make_guarded, server, monkeypatch, host):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
    monkeypatch.setattr("app.core.name_look_ups.socket.getaddrinfo", lambda *_: found)
    model = make_guarded(host, None)

    with pytest.raises(ModelAddressForbidden) as caught:
        await reply(model, "fake")
    assert not caught.value.retryable
    with pytest.raises(ModelAddressForbidden):
        await model.list_models()
    assert server.accepted == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "models.example"])
async def test_a_workspaces_provider_is_reached_where_the_operator_allows_it(make_guarded, server, monkeypatch, host):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
    monkeypatch.setattr("app.core.name_look_ups.socket.getaddrinfo", lambda *_: found)

    assert (await reply(make_guarded(host, "127.0.0.1"), "fake"))[0]


async def test_a_name_of_a_workspaces_provider_that_leads_nowhere_is_unreachable(make_guarded, monkeypatch):
    def getaddrinfo(*_):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("app.core.name_look_ups.socket.getaddrinfo", getaddrinfo)

    with pytest.raises(ModelUnreachable, match="not a known host"):
        await reply(make_guarded("nowhere.example", None), "fake")
