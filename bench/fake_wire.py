"""The bytes of a fake model's replies: chunks, events, and when each is written."""

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from bench.fake_behaviour import Behaviour

Step = tuple[float, bytes]
"""Seconds to wait, then the bytes to write; an infinite wait is silence for good."""

Answer = bytes | Iterator[Step | None]
"""A whole answer, or its steps; None closes the connection."""

NEVER = math.inf
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM_END = b"0\r\n\r\n"
_REASONS = {200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 404: b"Not Found", 429: b"Too Many Requests"}
_CUT_SECONDS = 0.001
_CHATTER_SECONDS = 0.05


def json_response(status: int, body: object, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    content = orjson.dumps(body)
    lines = [
        b"HTTP/1.1 %d %s" % (status, _REASONS.get(status, b"Status")),
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(content),
        *(f"{name}: {value}".encode() for name, value in headers),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + content


def framed(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def as_json(value: object, behaviour: Behaviour) -> bytes:
    """JSON as the behaviour wants it; the standard library writes lone surrogates as escapes, orjson refuses them."""
    if behaviour.ascii or behaviour.surrogates:
        return json.dumps(value, separators=(",", ":")).encode()
    return orjson.dumps(value)


def event(payload: bytes, behaviour: Behaviour) -> bytes:
    end = b"\r\n" if behaviour.crlf else b"\r" if behaviour.cr else b"\n"
    comment = b": keep-alive" + end + end if behaviour.comments else b""
    return comment + (b"data:" if behaviour.no_space else b"data: ") + payload + end + end


class Chunks:
    """Writes the chunks of one reply."""

    def __init__(self, model: str, behaviour: Behaviour) -> None:
        self._model = model
        self._behaviour = behaviour

    def _chunk(self, **fields: Any) -> bytes:
        body = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1_700_000_000}
        return event(as_json({**body, "model": self._model, **fields}, self._behaviour), self._behaviour)

    def _choice(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._chunk(choices=[choice])

    def role(self) -> bytes:
        return self._choice({"role": "assistant", "content": ""})

    def token(self, text: str) -> bytes:
        return self._choice({"content": text})

    def calls(self, calls: Sequence[tuple[str, dict[str, Any]]]) -> bytes:
        """Calls of tools, whole or in pieces, one chunk each unless all come together."""
        quirks = set(self._behaviour.call_wire.split(","))
        pieces = [
            piece
            for place, (name, arguments) in enumerate(calls)
            for piece in self._pieces(place, name, arguments, quirks)
        ]
        groups = [pieces] if "together" in quirks else [[piece] for piece in pieces]
        return b"".join(self._choice({"tool_calls": group}) for group in groups)

    def _pieces(self, place: int, name: str, arguments: dict[str, Any], quirks: set[str]) -> Iterator[dict[str, Any]]:
        written = json.dumps(arguments)
        size = self._behaviour.call_bytes or len(written)
        index = {} if "no_index" in quirks else {"index": 0 if "same_index" in quirks else place}
        call_id = {} if "no_id" in quirks else {"id": f"call_{place}"}
        first = arguments if "objects" in quirks else written[:size]
        yield {**index, **call_id, "type": "function", "function": {"name": name, "arguments": first}}
        if "objects" not in quirks:
            for at in range(size, len(written), size):
                yield {**index, "function": {"arguments": written[at : at + size]}}

    def finish(self, reason: str) -> bytes:
        return b"" if self._behaviour.no_finish else self._choice({}, reason)

    def usage(self, prompt_tokens: int, completion_tokens: int) -> bytes:
        return self._chunk(choices=[], usage=usage(prompt_tokens, completion_tokens))

    def done(self) -> bytes:
        return b"" if self._behaviour.no_done else event(b"[DONE]", self._behaviour)

    def malformed(self) -> bytes:
        return event(b'{"id":"chatcmpl-fake","choices":[{"delta":{"content":"oops', self._behaviour)

    def error(self) -> bytes:
        message = self._behaviour.message or "The server had an error."
        body = {"error": {"message": message, "type": "server_error", "code": self._behaviour.code or 500}}
        return event(orjson.dumps(body), self._behaviour)


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def completion(model: str, text: str, reason: str, prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    """The answer to a request that does not stream."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": usage(prompt_tokens, completion_tokens),
    }


def token_steps(behaviour: Behaviour, chunks: Chunks, tokens: Sequence[str]) -> Iterator[Step | None]:
    """The role and the tokens, up to the fault if there is one; None last if the connection is to be closed."""
    yield behaviour.first_ms / 1000, chunks.role()
    if behaviour.chunk_tokens > 1:
        tokens = _joined(tokens, behaviour.chunk_tokens)
    stream = itertools.cycle(tokens) if behaviour.endless else iter(tokens)
    delay = 0.0
    for place in itertools.count():
        if place == behaviour.malformed:
            yield 0.0, chunks.malformed()
        if place == behaviour.error_after:
            yield 0.0, chunks.error()
        if place == behaviour.disconnect_after:
            yield None
            return
        if place == behaviour.hang_after:
            yield from silence(behaviour)
        token = next(stream, None)
        if token is None:
            return
        yield delay, chunks.token(token)
        delay = behaviour.delay_ms / 1000


def _joined(tokens: Sequence[str], size: int) -> list[str]:
    return ["".join(tokens[start : start + size]) for start in range(0, len(tokens), size)]


def silence(behaviour: Behaviour) -> Iterator[Step]:
    """Nothing more, but for comments if asked."""
    while behaviour.chatter:
        yield _CHATTER_SECONDS, b": still there\n\n"
    yield NEVER, b""


def cut(steps: Iterable[Step | None], behaviour: Behaviour) -> Iterator[Step | None]:
    """Cut the writes as the behaviour wants them, and frame each as an HTTP chunk."""
    for step in steps:
        if step is None:
            yield None
            continue
        delay, data = step
        for piece in _pieces(data, behaviour):
            yield delay, framed(piece)
            delay = _CUT_SECONDS


def _pieces(data: bytes, behaviour: Behaviour) -> Iterator[bytes]:
    if behaviour.slow_write:
        ends = list(range(behaviour.slow_write, len(data), behaviour.slow_write))
    elif behaviour.split_utf8:
        ends = [at for at in range(1, len(data)) if data[at - 1] >= 0xC0]
    else:
        ends = []
    for start, end in itertools.pairwise([0, *ends, len(data)]):
        yield data[start:end]
