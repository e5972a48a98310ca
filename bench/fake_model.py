"""A scriptable OpenAI-compatible model server, cheap enough to share its cores with what is measured.

In a test: `async with FakeModelServer() as model:` and `model.base_url`. As a process: `python -m bench.fake_model
--port 0` prints `ready <port>`. A model's name scripts its behaviour, see `bench.fake_behaviour`.
"""

import argparse
import asyncio
import itertools
import math
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

import orjson

from bench import fake_wire as wire
from bench import stamps
from bench.fake_behaviour import VARIANTS, Behaviour, behaviour_of, reply_tokens, scripted_calls
from bench.fake_connection import Connection
from bench.fake_embeddings import RefusedTextsError, embeddings
from bench.fake_stamps import Metronomes, StampedReply

# Inside a JSON string every quote is escaped, so these match keys of the body only.
_MODEL = re.compile(rb'"model" *: *"([^"\\]*)"')
_STREAM = re.compile(rb'"stream" *: *true')
_INCLUDE_USAGE = re.compile(rb'"include_usage" *: *true')
_HAS_FORMAT = re.compile(rb'"response_format" *: *\{')
_HAS_TOOLS = re.compile(rb'"tools" *: *\[ *\{')
_HAS_TEMPERATURE = re.compile(rb'"temperature" *: *[\d-]')
_MAX_TOKENS = re.compile(rb'"max_(?:completion_)?tokens" *: *(\d+)')
_PARENT_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Recorded:
    """A chat request as it came in; `ordinal` counts the requests of its model from 0, `at` is a monotonic time."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    model: str
    ordinal: int
    at: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class Chat:
    """What of a chat request decides the reply."""

    model: str
    behaviour: Behaviour
    ordinal: int
    stream: bool
    wants_usage: bool
    max_tokens: int | None
    body: bytes
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def prompt_tokens(self) -> int:
        return max(1, len(self.body) // 4)

    def tokens(self, default: str) -> tuple[tuple[str, ...], str]:
        """The words of the reply and why it ends."""
        if self.behaviour.echo is not None:
            return _digest(self.body, self.behaviour.echo), "stop"
        if self.calls:
            return reply_tokens(self.model, self.ordinal, default)[: self.behaviour.call_words], "tool_calls"
        is_mute = self.behaviour.empty or self.behaviour.whitespace
        tokens = reply_tokens(self.model, self.ordinal, default, healed=not is_mute)
        if self.max_tokens is not None and self.max_tokens < len(tokens) and not self.behaviour.ignore_max_tokens:
            return tokens[: self.max_tokens], "length"
        return tokens, "stop"


def _digest(body: bytes, head: int) -> tuple[str, ...]:
    request = orjson.loads(body)
    messages = [[message["role"], message["content"][:head]] for message in request.pop("messages")]
    text = orjson.dumps({**request, "messages": messages}).decode()
    return tuple(text[at : at + 16] for at in range(0, len(text), 16))


class FakeModelServer:
    """The server in this process; `requests` holds what it received, oldest first, if `record`."""

    stream_head = wire.STREAM_HEAD

    def __init__(self, *, port: int = 0, default: str = "", api_key: str | None = None, record: bool = True) -> None:
        self.port = port
        self.requests: list[Recorded] = []
        self.accepted = 0  # connections, those closed since included
        self._default = default
        self._api_key = api_key
        self._record = record
        self._asked: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._ready: dict[tuple[object, ...], tuple[bytes, bytes, int]] = {}
        self._connections: set[Connection] = set()
        self._metronomes = Metronomes()
        commands = (self._metronomes.hold, self._metronomes.go, self._metronomes.finish)
        self._commands = {f"/{command.__name__}": command for command in commands}
        self._server: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, "127.0.0.1", self.port, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self._metronomes.stop()
        for connection in tuple(self._connections):
            connection.abort()
        await self._server.wait_closed()

    def _accept(self) -> Connection:
        self.accepted += 1
        return Connection(self.answer, self._connections)

    def answer(self, head: bytes, body: bytes) -> wire.Answer | StampedReply:
        """The whole answer, its steps, or a stamped reply that has its place already."""
        method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        # A gateway's path may come before: prices are known by the whole address.
        if method == "POST" and path.endswith("/v1/chat/completions"):
            return self._answer_chat(head, body, path)
        if method == "POST" and path.endswith("/v1/embeddings"):
            return self._answer_embeddings(head, body, path)
        if path == "/v1/models":
            return wire.json_response(200, {"object": "list", "data": [{"id": "fake", "object": "model"}]})
        if path == "/health":
            return wire.json_response(200, {"status": "ok"})
        if path == "/stats":
            counts = {"requests": self._asked.total(), "connections": self.open_connections}
            return wire.json_response(200, counts | {"stamped_tokens": self._metronomes.beats})
        if method == "POST" and path in self._commands:
            self._commands[path]()
            return wire.json_response(200, {"status": "ok"})
        return _error(404, f"Invalid URL ({method} {path})")

    def _answer_chat(self, head: bytes, body: bytes, path: str) -> wire.Answer | StampedReply:
        if self._api_key is not None and f"bearer {self._api_key}".encode() not in head.replace(b"Bearer", b"bearer"):
            return _error(401, "Incorrect API key provided.")
        found = _MODEL.search(body)
        if found is None:
            return _error(400, "you must provide a model parameter")
        try:
            chat = self.read_chat(found[1].decode(), body)
        except ValueError as problem:
            return _error(400, str(problem))
        if self._record:
            self.requests.append(Recorded(path, _headers(head), orjson.loads(body), chat.model, chat.ordinal))
        if chat.behaviour.status:
            return _failure(chat.behaviour, head)
        if chat.behaviour.context_tokens and chat.prompt_tokens > chat.behaviour.context_tokens:
            return _context_exceeded(chat)
        if chat.behaviour.reject_format and _HAS_FORMAT.search(body):
            return _error(400, "response_format is not supported by this model")
        if chat.behaviour.reject_tools and _HAS_TOOLS.search(body):
            return _error(400, "tools are not supported by this model")
        if chat.behaviour.reject_temperature and _HAS_TEMPERATURE.search(body):
            return _error(400, "Unsupported value: 'temperature' does not support 0 with this model.")
        if chat.stream and chat.behaviour.is_plain:
            return self._whole(chat)
        if chat.stream and chat.behaviour.stamped:
            return self._stamped(chat)
        return self.steps(chat)

    def _answer_embeddings(self, head: bytes, body: bytes, path: str) -> wire.Answer:
        if self._api_key is not None and f"Bearer {self._api_key}".encode() not in head:
            return _error(401, "Incorrect API key provided.")
        request = orjson.loads(body)
        chat = self.read_chat(request["model"], body)
        if self._record:
            self.requests.append(Recorded(path, _headers(head), request, chat.model, chat.ordinal))
        if chat.behaviour.hang_first:
            return iter([(wire.NEVER, b"")])
        if chat.behaviour.status:
            return _failure(chat.behaviour, head)
        try:
            return wire.json_response(200, embeddings(chat.model, chat.behaviour, request))
        except RefusedTextsError as refused:
            return _error(400, str(refused))

    def read_chat(self, model: str, body: bytes) -> Chat:
        behaviour = behaviour_of(model, self._default)
        ordinal = self._asked[model]
        self._asked[model] += 1
        if behaviour.fail_times:
            key = behaviour.key or model
            failing = self._failed[key] < behaviour.fail_times
            self._failed[key] += failing
            behaviour = replace(behaviour, fail_times=0) if failing else behaviour.healed()
        limit = _MAX_TOKENS.search(body)
        return Chat(
            model=model,
            behaviour=behaviour,
            ordinal=ordinal,
            stream=_STREAM.search(body) is not None,
            wants_usage=not behaviour.no_usage and _INCLUDE_USAGE.search(body) is not None,
            max_tokens=int(limit[1]) if limit else None,
            body=body,
            calls=scripted_calls(behaviour.calls) if behaviour.calls and self.is_to_call(behaviour, body) else [],
        )

    def _whole(self, chat: Chat) -> bytes:
        """A reply in one piece, kept ready but for the count of its prompt's tokens."""
        key = (chat.model, chat.behaviour, chat.ordinal % VARIANTS, chat.max_tokens)
        ready = self._ready.get(key)
        chunks = wire.Chunks(chat.model, chat.behaviour)
        if ready is None:
            tokens, reason = chat.tokens(self._default)
            events = [chunks.role(), *map(chunks.token, tokens), chunks.finish(reason)]
            start = wire.STREAM_HEAD + b"".join(map(wire.framed, events))
            ready = self._ready[key] = (start, wire.framed(chunks.done()) + wire.STREAM_END, len(tokens))
        start, end, count = ready
        usage = wire.framed(chunks.usage(chat.prompt_tokens, count)) if chat.wants_usage else b""
        return start + usage + end

    def is_to_call(self, behaviour: Behaviour, body: bytes) -> bool:
        """Whether tools are offered and may be called, and not their results already here."""
        request = orjson.loads(body)
        since = itertools.takewhile(lambda message: message["role"] != "user", reversed(request["messages"]))
        rounds = sum(1 for message in since if message.get("tool_calls"))
        may_call = bool(request.get("tools")) and request.get("tool_choice") != "none"
        return rounds < behaviour.call_rounds and (behaviour.unasked or may_call)

    def chunks(self, chat: Chat) -> wire.Chunks:
        return wire.Chunks(chat.model, chat.behaviour)

    def _stamped(self, chat: Chat) -> StampedReply:
        """A reply whose tokens are as wide as each other, so that a chunk is its template and the time."""
        behaviour = chat.behaviour
        chunks = wire.Chunks(chat.model, behaviour)
        before, after = wire.framed(chunks.token("?" * len(stamps.TOKEN % 0))).split(b"?" * len(stamps.TOKEN % 0))
        template = before.replace(b"%", b"%%") + stamps.TOKEN + after.replace(b"%", b"%%")
        limit = math.inf if chat.max_tokens is None or behaviour.ignore_max_tokens else chat.max_tokens
        most = math.inf if behaviour.endless else min(behaviour.tokens, limit)
        reason = "length" if most < behaviour.tokens else "stop"

        def end(said: int) -> bytes:
            usage = chunks.usage(chat.prompt_tokens, said) if chat.wants_usage else b""
            return b"".join(map(wire.framed, (chunks.finish(reason), usage, chunks.done()))) + wire.STREAM_END

        reply = StampedReply(wire.STREAM_HEAD + wire.framed(chunks.role()), template.__mod__, end, most)
        self._metronomes.add(max(behaviour.delay_ms, 1.0) / 1000, reply)
        return reply

    def steps(self, chat: Chat) -> Iterator[wire.Step | None]:
        behaviour = chat.behaviour
        if behaviour.drop:
            yield None
            return
        if behaviour.hang_first:
            yield wire.NEVER, b""
        tokens, reason = chat.tokens(self._default)
        if behaviour.json or not chat.stream:
            yield (behaviour.first_ms + behaviour.delay_ms * len(tokens)) / 1000, b""
            body = wire.completion(chat.model, "".join(tokens), reason, chat.prompt_tokens, len(tokens))
            yield 0.0, wire.json_response(200, body)
            return
        yield 0.0, self.stream_head
        chunks = self.chunks(chat)
        for step in wire.cut(wire.token_steps(behaviour, chunks, tokens), behaviour):
            yield step
            if step is None:
                return
        if chat.calls:
            yield from wire.cut([(0.0, chunks.calls(chat.calls))], behaviour)
        yield from wire.cut([(0.0, chunks.finish(reason))], behaviour)
        if behaviour.hang_end:
            yield from wire.cut(wire.silence(behaviour), behaviour)
        usage = chunks.usage(chat.prompt_tokens, len(tokens)) if chat.wants_usage else b""
        yield from wire.cut([(0.0, usage), (0.0, chunks.done())], behaviour)
        yield 0.01 * behaviour.late_end, wire.STREAM_END


def _context_exceeded(chat: Chat) -> bytes:
    most, needed = chat.behaviour.context_tokens, chat.prompt_tokens
    message = f"This model's maximum context length is {most} tokens. However, your messages resulted in {needed}."
    return _error(400, message, code="context_length_exceeded")


def _error(status: int, message: str, headers: tuple[tuple[str, str], ...] = (), *, code: str | None = None) -> bytes:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    return wire.json_response(status, body, headers)


def _failure(behaviour: Behaviour, head: bytes) -> bytes:
    key = _headers(head).get("authorization", "") if behaviour.leak_key else ""
    headers = [("Retry-After", behaviour.retry_after)] if behaviour.retry_after else []
    if behaviour.status in {301, 302, 307, 308}:
        headers.append(("Location", "/v1/elsewhere"))
    message = f"{behaviour.message or 'Scripted failure.'} {key}".strip().ljust(behaviour.message_bytes, "!")
    return _error(behaviour.status, message, tuple(headers), code=behaviour.code or None)


def _headers(head: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:] if line)
    return {name.lower(): value.strip() for name, _, value in lines}


async def serve(server: FakeModelServer, *, end_with_parent: bool) -> None:
    """Run until SIGTERM or SIGINT, or until the parent process is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    parent = os.getppid()
    async with server:
        print(f"ready {server.port}", flush=True)
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), _PARENT_POLL_SECONDS)
            except TimeoutError:
                if end_with_parent and os.getppid() != parent:
                    return


def main() -> None:
    parser = argparse.ArgumentParser(description="A scriptable OpenAI-compatible model server.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--default", default="", help="options a model has unless it says otherwise")
    parser.add_argument("--api-key", help="answer 401 without this key")
    parser.add_argument("--end-with-parent", action="store_true", help="stop when the starter of this process is gone")
    options = parser.parse_args()
    server = FakeModelServer(port=options.port, default=options.default, api_key=options.api_key, record=False)
    coroutine = serve(server, end_with_parent=options.end_with_parent)
    try:
        import uvloop  # noqa: PLC0415 - optional: not on every platform
    except ImportError:
        asyncio.run(coroutine)
    else:
        uvloop.run(coroutine)


if __name__ == "__main__":
    main()
