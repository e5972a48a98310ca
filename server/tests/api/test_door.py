"""Who is too slow, too large or not HTTP at all is turned away, in words, and nobody else notices."""

import asyncio
import time

import pytest

from app.core.bodies import MOST_VALUES, fault_of
from tests.fixtures.problems import problem
from tests.fixtures.raw_request import raw_connection

pytestmark = pytest.mark.anyio

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /api/v1/auth/register HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def hurried(make_arena):
    """An installation where everything has to arrive within half a second."""
    return make_arena(server={"request_head_seconds": 0.5, "request_body_seconds": 0.5})


async def test_a_head_that_is_sent_slowly_is_given_up(hurried):
    began = time.monotonic()
    async with raw_connection(hurried.url) as connection:
        await asyncio.gather(connection.trickle(GET + b"X-Slow: " + b"x" * 100, 0.05), _late(connection))

    assert time.monotonic() - began < 4


async def _late(connection):
    (await connection.answer()).problem(408, "timed_out")


async def test_a_connection_that_says_nothing_is_closed(hurried):
    async with raw_connection(hurried.url) as connection:
        assert await connection.is_closed(2)


async def test_a_second_head_on_a_kept_connection_has_to_come_in_time_too(hurried):
    async with raw_connection(hurried.url) as connection:
        await connection.send(GET + b"\r\n")
        assert (await connection.answer()).status == 200
        await asyncio.sleep(0.7)  # between requests nobody is in a hurry
        await connection.send(GET)

        (await connection.answer()).problem(408, "timed_out")
        assert await connection.is_closed()


async def test_line_breaks_keep_no_connection_open(hurried):
    async with raw_connection(hurried.url) as connection:
        await connection.send(GET + b"\r\n")
        await connection.answer()

        await connection.trickle(b"\r\n" * 20, 0.05)

        assert await connection.is_closed(1)


@pytest.mark.parametrize("head", [POST + b"Content-Length: 50\r\n\r\n", CHUNKED + b"32\r\n"])
async def test_a_body_that_is_sent_slowly_is_given_up(hurried, head):
    async with raw_connection(hurried.url) as connection:
        await connection.send(head)

        await asyncio.gather(connection.trickle(b"{" + b" " * 48, 0.05), _late(connection))


async def test_a_body_that_comes_steadily_has_its_time(hurried):
    body = b"[" + b" " * 2000
    async with raw_connection(hurried.url) as connection:
        await connection.send(POST + b"Content-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 200):
            await connection.send(body[start : start + 200])
            await asyncio.sleep(0.1)

        (await connection.answer()).problem(422, "validation_failed")


async def test_a_chunked_body_without_end_is_cut_off_at_the_limit(make_arena):
    arena = make_arena(server={"max_body_bytes": 10_000})
    async with raw_connection(arena.url) as connection:
        await connection.send(CHUNKED)
        await connection.send(b"3e8\r\n" + b" " * 1000 + b"\r\n")
        for _ in range(20):
            await connection.send(b"3e8\r\n" + b" " * 1000 + b"\r\n")
        await connection.send(b"0\r\n\r\n")

        (await connection.answer()).problem(413, "body_too_large")


@pytest.mark.parametrize(
    "head",
    [
        GET + b"X-Large: " + b"x" * 1_000_000 + b"\r\n\r\n",
        GET + b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + b"\r\n",
        GET + b"".join(b"X-%d: %b\r\n" % (number, b"y" * 1000) for number in range(50)) + b"\r\n",
    ],
    ids=["a header of a megabyte", "ten thousand headers", "many large headers"],
)
async def test_a_head_that_is_too_large_is_refused(arena, head):
    async with raw_connection(arena.url) as connection:
        await connection.send(head)

        (await connection.answer()).problem(431, "headers_too_large")
        assert await connection.is_closed()


async def test_trailers_count_as_headers(arena):
    async with raw_connection(arena.url) as connection:
        await connection.send(CHUNKED + b"0\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(200)) + b"\r\n")

        (await connection.answer()).problem(431, "headers_too_large")


@pytest.mark.parametrize("address", [b"/api/v1/agents?q=" + b"x" * 100_000, b"/" + b"a/" * 20_000])
async def test_an_address_that_is_too_long_is_refused(arena, address):
    async with raw_connection(arena.url) as connection:
        await connection.send(b"GET " + address + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")

        (await connection.answer()).problem(414, "uri_too_long")


@pytest.mark.parametrize(
    "noise",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"HELO arena\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        POST + b"Content-Length: 2, 2\r\n\r\n{}",
    ],
)
async def test_what_is_no_http_is_refused(arena, noise):
    async with raw_connection(arena.url) as connection:
        await connection.send(noise)

        (await connection.answer()).problem(400, "malformed_request")
        assert await connection.is_closed()


@pytest.mark.parametrize("name", [b"Authorization", b"Host", b"X-Workspace-ID"])
async def test_what_says_who_asks_and_where_may_be_said_once(arena, name):
    """Whoever reads the first and whoever reads the last would take them for different requests."""
    async with raw_connection(arena.url) as connection:
        await connection.send(
            GET.replace(b"Host: localhost\r\n", b"") + name + b": a\r\n" + name.lower() + b": b\r\n\r\n"
        )

        (await connection.answer()).problem(400, "malformed_request")
        assert await connection.is_closed()


async def test_a_trailer_says_nothing_about_who_asks(arena, owner):
    asked = b"POST /api/v1/auth/ws-ticket HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    async with raw_connection(arena.url) as connection:
        await connection.send(asked + b"Authorization: Bearer " + owner.access_token.encode() + b"\r\n\r\n")

        (await connection.answer()).problem(401, "unauthenticated")


async def test_garbage_behind_a_request_spoils_neither_its_answer_nor_the_connection_of_others(arena):
    async with raw_connection(arena.url) as connection:
        await connection.send(GET + b"\r\n" + b"\x00garbage\r\n\r\n" * 100)

        answer = await connection.answer()
        assert (answer.status, answer.body) == (200, b'{"status":"alive"}')
        assert await connection.is_closed()


async def test_requests_sent_at_once_are_answered_in_order(arena):
    async with raw_connection(arena.url) as connection:
        await connection.send((GET + b"\r\n" + b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n") * 20)

        assert [(await connection.answer()).status for _ in range(40)] == [200, 404] * 20


async def test_one_address_cannot_take_all_connections(make_arena):
    arena = make_arena(server={"max_connections": 40})
    held = [raw_connection(arena.url) for _ in range(21)]
    connections = [await one.__aenter__() for one in held]
    try:
        (await connections[-1].answer()).problem(503, "overloaded")
        assert not await connections[0].is_closed(0.1)
    finally:
        for one in held:
            await one.__aexit__(None, None, None)
    await asyncio.sleep(0.1)
    async with raw_connection(arena.url) as connection:
        await connection.send(GET + b"\r\n")
        assert (await connection.answer()).status == 200


@pytest.mark.parametrize("depth", [65, 100_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
async def test_a_body_nested_too_deeply_is_refused(client, depth, opening):
    content = (opening * depth)[:900_000]

    response = await client.post("/api/v1/agents", content=content, headers={"Content-Type": "application/json"})

    problem(response, 422, "json_too_complex")


def test_brackets_in_strings_nest_nothing():
    text = b'{"text": "' + b'[{\\"' * 10_000 + b'"}'

    assert fault_of(text, 64) is None
    assert fault_of(b"[" * 64 + b"]" * 64, 64) is None
    assert fault_of(b"[" * 65, 64) is not None


def test_a_body_of_very_many_values_is_refused():
    assert fault_of(b"[" + b"1," * MOST_VALUES + b"1]", 64) is not None
    assert fault_of(b"[" + b"[]," * 1000 + b"1]", 64) is None


@pytest.mark.parametrize("hard", [b'"\\' * 500_000, b'"' * 1_000_001, b'{"' * 500_000, b"{}," * 333_333])
def test_no_body_takes_long_to_judge(hard):
    began = time.perf_counter()

    fault_of(hard, 64)

    assert time.perf_counter() - began < 3
