"""The floor under a turn: a bare loop on raw sockets that streams a reply, commits it, and shows it to one viewer.

No framework, no queue, no log, no recovery: what remains is what the machine, the kernel and PostgreSQL cost.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import orjson
import psycopg

from app.domain.prompt import ChatMessage
from app.services.providers.base import ChatRequest, TextDelta
from app.services.providers.openai_compatible import OpenAICompatibleModel

WARM_UP = 20
PROMPT = [
    ChatMessage("system", "You doubt every claim."),
    *[ChatMessage("user", "The panel weighs figures. " * 12)] * 10,
]
_STREAM_END = b"\r\n0\r\n\r\n"
_SCHEMA = "arena_bench_floor"
_PREPARE = f"""
    DROP SCHEMA IF EXISTS {_SCHEMA} CASCADE;
    CREATE SCHEMA {_SCHEMA};
    CREATE TABLE {_SCHEMA}.messages (
        discussion_id int, turn int, content text, created_at timestamptz DEFAULT now(),
        PRIMARY KEY (discussion_id, turn)
    );
    CREATE TABLE {_SCHEMA}.discussions (id int PRIMARY KEY, turn int);
    INSERT INTO {_SCHEMA}.discussions VALUES (1, 0);
"""  # nosec B608 - our own constant
_INSERT = f"INSERT INTO {_SCHEMA}.messages (discussion_id, turn, content) VALUES (1, %s, %s)"  # nosec B608 - constant
_UPDATE = f"UPDATE {_SCHEMA}.discussions SET turn = %s WHERE id = 1"  # nosec B608 - our own constant


async def floor_turns(fake_base_url: str, database_url: str, turns: int = 200, model: str = "fake") -> list[float]:
    """Milliseconds of each turn of the bare loop: streamed reply, one durable transaction, one viewer."""
    return await asyncio.to_thread(_floor_turns, fake_base_url, database_url, turns, model)


async def direct_call_ms(fake_base_url: str, calls: int = 200, model: str = "fake") -> list[float]:
    """Milliseconds of each reply read through our own client, nothing stored."""
    client = OpenAICompatibleModel(fake_base_url)
    request = ChatRequest(model, PROMPT, max_tokens=200)
    try:
        times = []
        for _ in range(WARM_UP + calls):
            started = time.perf_counter()
            text = [item.text async for item in client.stream(request) if isinstance(item, TextDelta)]
            times.append((time.perf_counter() - started) * 1000)
            assert text, "the fake model said nothing"
        return times[WARM_UP:]
    finally:
        await client.close()


async def pg_commit_ms(database_url: str, n: int = 200) -> list[float]:
    """Milliseconds of each committed transaction of one row."""
    return await asyncio.to_thread(_commits, database_url, n)


def _commits(database_url: str, n: int) -> list[float]:
    with _scratch(database_url) as connection:

        def commit(turn: int) -> None:
            connection.execute(_INSERT, (turn, "a row"), prepare=True)

        connection.autocommit = True  # a statement of its own is a transaction of its own
        return _timed(commit, n)


def _floor_turns(fake_base_url: str, database_url: str, turns: int, model: str) -> list[float]:
    where = urlsplit(fake_base_url)
    with (
        _scratch(database_url) as connection,
        closing(socket.create_connection((where.hostname, where.port))) as provider,
        _viewer() as (stage, viewer),
    ):
        provider.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = _request(model)

        def turn(number: int) -> None:
            provider.sendall(request)
            tokens = _tokens(_receive(provider))
            with connection.pipeline(), connection.transaction():
                connection.execute(_INSERT, (number, "".join(tokens)), prepare=True)
                connection.execute(_UPDATE, (number,), prepare=True)
            shown = b"".join(b"data: %b\n\n" % orjson.dumps({"text": token}) for token in tokens)
            stage.sendall(shown)
            seen = 0
            while seen < len(shown):
                seen += len(viewer.recv(65536))

        return _timed(turn, turns)


def _timed(work: Callable[[int], None], times: int) -> list[float]:
    results = []
    for number in range(WARM_UP + times):
        started = time.perf_counter()
        work(number)
        results.append((time.perf_counter() - started) * 1000)
    return results[WARM_UP:]


@contextmanager
def _scratch(database_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A connection with tables of its own, dropped at the end."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = on")
        connection.execute(_PREPARE)
        try:
            yield connection
        finally:
            connection.execute(f"DROP SCHEMA {_SCHEMA} CASCADE")


@contextmanager
def _viewer() -> Iterator[tuple[socket.socket, socket.socket]]:
    stage, viewer = socket.socketpair()
    with stage, viewer:
        yield stage, viewer


def _request(model: str) -> bytes:
    messages = [{"role": message.role, "content": message.content} for message in PROMPT]
    body = orjson.dumps({"model": model, "stream": True, "messages": messages})
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: fake\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _receive(provider: socket.socket) -> bytes:
    received = provider.recv(262_144)
    while not received.endswith(_STREAM_END):
        piece = provider.recv(262_144)
        if not piece:
            raise ConnectionError("the fake model closed the connection")
        received += piece
    return received


def _tokens(reply: bytes) -> list[str]:
    lines = (line[6:] for line in reply.split(b"\n") if line.startswith(b"data: {"))
    choices = (chunk["choices"] for chunk in map(orjson.loads, lines))
    return [choice[0]["delta"].get("content", "") for choice in choices if choice]
