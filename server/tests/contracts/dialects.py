"""Protocols of other providers, as far as their SDKs look at them: paths, errors, and the chunks of a reply."""

import json
import zlib
from abc import abstractmethod
from typing import Any, ClassVar
from urllib.parse import unquote

from bench import fake_wire as wire
from bench.fake_behaviour import Behaviour


def named_event(name: str, payload: dict[str, Any], behaviour: Behaviour) -> bytes:
    return f"event: {name}\n".encode() + wire.event(wire.as_json(payload, behaviour), behaviour)


class Dialect(wire.Chunks):
    """Writes one reply; the class knows how requests are read and refused."""

    path_end: ClassVar[str]
    stream_head: ClassVar[bytes] = wire.STREAM_HEAD
    too_long: ClassVar[str]

    def __init__(self, model: str, behaviour: Behaviour) -> None:
        super().__init__(model, behaviour)
        self._behaviour = behaviour

    @staticmethod
    @abstractmethod
    def model_of(path: str, request: dict[str, Any]) -> str: ...

    @staticmethod
    @abstractmethod
    def max_tokens_of(request: dict[str, Any]) -> int | None: ...

    @staticmethod
    @abstractmethod
    def has_results(request: dict[str, Any]) -> bool: ...

    @staticmethod
    @abstractmethod
    def refusal(status: int, message: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """The body of an error, and headers that belong to it."""


class Anthropic(Dialect):
    path_end = "/v1/messages"
    too_long = "prompt is too long: 9000 tokens > 1 maximum"
    _TYPES: ClassVar = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}

    def __init__(self, model: str, behaviour: Behaviour) -> None:
        super().__init__(model, behaviour)
        self._blocks = 0
        self._reason = "end_turn"

    @staticmethod
    def model_of(path, request):
        return request["model"]

    @staticmethod
    def max_tokens_of(request):
        return request["max_tokens"]

    @staticmethod
    def has_results(request):
        return "tool_result" in json.dumps(request["messages"])

    @staticmethod
    def refusal(status, message):
        kind = Anthropic._TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}, []

    def _event(self, kind: str, **fields: Any) -> bytes:
        return named_event(kind, {"type": kind, **fields}, self._behaviour)

    def role(self):
        message = {"id": "msg_fake", "type": "message", "role": "assistant", "model": "claude-fake", "content": []}
        usage = {"input_tokens": 9, "output_tokens": 0}
        started = self._event(
            "message_start", message={**message, "stop_reason": None, "stop_sequence": None, "usage": usage}
        )
        return started + self._block({"type": "text", "text": ""}) + self._event("ping")

    def _block(self, block: dict[str, Any]) -> bytes:
        self._blocks += 1
        return self._event("content_block_start", index=self._blocks - 1, content_block=block)

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return self._event("content_block_delta", index=self._blocks - 1, delta=delta)

    def token(self, text):
        return self._delta({"type": "text_delta", "text": text})

    def calls(self, calls):
        size = self._behaviour.call_bytes or 1000
        data = b""
        for name, arguments in calls:
            data += self._event("content_block_stop", index=self._blocks - 1)
            data += self._block({"type": "tool_use", "id": f"toolu_{self._blocks}", "name": name, "input": {}})
            written = json.dumps(arguments)
            for at in range(0, len(written), size):
                data += self._delta({"type": "input_json_delta", "partial_json": written[at : at + size]})
        return data

    def finish(self, reason):
        self._reason = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}[reason]
        return self._event("content_block_stop", index=self._blocks - 1)

    def usage(self, prompt_tokens, completion_tokens):
        usage = {"input_tokens": prompt_tokens, "output_tokens": completion_tokens}
        return self._event("message_delta", delta={"stop_reason": self._reason, "stop_sequence": None}, usage=usage)

    def done(self):
        return self._event("message_stop")

    def malformed(self):
        return b'event: content_block_delta\ndata: {"type": "content_block_del\n\n'

    def error(self):
        is_full = self._behaviour.code == "context_length_exceeded"
        kind, message = ("invalid_request_error", self.too_long) if is_full else ("api_error", "Internal server error")
        return self._event("error", error={"type": kind, "message": message})


class Google(Dialect):
    path_end = ":streamGenerateContent"
    too_long = "The input token count (9000) exceeds the maximum number of tokens allowed (1)."
    _STATUSES: ClassVar = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND"}

    @staticmethod
    def model_of(path, request):
        return unquote(path.rpartition("/")[2].partition(":")[0])

    @staticmethod
    def max_tokens_of(request):
        return request.get("generationConfig", {}).get("maxOutputTokens")

    @staticmethod
    def has_results(request):
        return "functionResponse" in json.dumps(request["contents"])

    @staticmethod
    def refusal(status, message):
        return {
            "error": {"code": status, "message": message, "status": Google._STATUSES.get(status, "UNAVAILABLE")}
        }, []

    def _parts(self, *parts: dict[str, Any], **fields: Any) -> bytes:
        candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0, **fields}
        chunk = {"candidates": [candidate], "modelVersion": "gemini-fake", "responseId": "r1"}
        return wire.event(wire.as_json(chunk, self._behaviour), self._behaviour)

    def role(self):
        return b""

    def token(self, text):
        return self._parts({"text": text})

    def calls(self, calls):
        return self._parts(*({"functionCall": {"name": name, "args": arguments}} for name, arguments in calls))

    def finish(self, reason):
        return self._parts({"text": ""}, finishReason="MAX_TOKENS" if reason == "length" else "STOP")

    def usage(self, prompt_tokens, completion_tokens):
        usage = {"promptTokenCount": prompt_tokens, "candidatesTokenCount": completion_tokens}
        chunk = {"usageMetadata": usage, "modelVersion": "gemini-fake", "responseId": "r1"}
        return wire.event(wire.as_json(chunk, self._behaviour), self._behaviour)

    def done(self):
        return b""

    def malformed(self):
        return b'data: {"candidates": [{"content": {"par\n\n'

    def error(self):
        is_full = self._behaviour.code == "context_length_exceeded"
        body, _ = self.refusal(400, self.too_long) if is_full else self.refusal(503, "The model is overloaded.")
        return wire.event(wire.as_json(body, self._behaviour), self._behaviour)


class Mistral(Dialect):
    path_end = "/v1/chat/completions"
    too_long = "Prompt contains 9000 tokens, too large for model with 1 maximum context length"

    @staticmethod
    def model_of(path, request):
        return request["model"]

    @staticmethod
    def max_tokens_of(request):
        return request.get("max_tokens")

    @staticmethod
    def has_results(request):
        return any(message["role"] == "tool" for message in request["messages"])

    @staticmethod
    def refusal(status, message):
        return {"object": "error", "message": message, "type": "invalid_request_error", "code": str(status)}, []

    def calls(self, calls):
        """Whole and together, as Mistral sends them."""
        functions = [{"name": name, "arguments": json.dumps(arguments)} for name, arguments in calls]
        pieces = [
            {"id": f"call0000{place}", "index": place, "function": function} for place, function in enumerate(functions)
        ]
        return self._choice({"tool_calls": pieces})


class Bedrock(Dialect):
    path_end = "/converse-stream"
    stream_head = wire.STREAM_HEAD.replace(b"text/event-stream", b"application/vnd.amazon.eventstream")
    too_long = "Input is too long for requested model."
    _TYPES: ClassVar = {
        400: "ValidationException",
        401: "UnrecognizedClientException",
        404: "ResourceNotFoundException",
        429: "ThrottlingException",
        503: "ServiceUnavailableException",
    }

    @staticmethod
    def model_of(path, request):
        return unquote(path.split("/")[-2])

    @staticmethod
    def max_tokens_of(request):
        return request.get("inferenceConfig", {}).get("maxTokens")

    @staticmethod
    def has_results(request):
        return "toolResult" in json.dumps(request["messages"])

    @staticmethod
    def refusal(status, message):
        kind = Bedrock._TYPES.get(status, "InternalServerException")
        return {"message": message}, [("x-amzn-ErrorType", kind)]

    def __init__(self, model: str, behaviour: Behaviour) -> None:
        super().__init__(model, behaviour)
        self._block = 0

    def _message(self, headers: dict[str, str], payload: bytes) -> bytes:
        packed = b"".join(
            bytes([len(name)]) + name.encode() + b"\x07" + len(value).to_bytes(2, "big") + value.encode()
            for name, value in headers.items()
        )
        prelude = (16 + len(packed) + len(payload)).to_bytes(4, "big") + len(packed).to_bytes(4, "big")
        body = prelude + zlib.crc32(prelude).to_bytes(4, "big") + packed + payload
        return body + zlib.crc32(body).to_bytes(4, "big")

    def _event(self, kind: str, **payload: Any) -> bytes:
        headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
        return self._message(headers, wire.as_json(payload, self._behaviour))

    def role(self):
        return self._event("messageStart", role="assistant")

    def token(self, text):
        return self._event("contentBlockDelta", contentBlockIndex=0, delta={"text": text})

    def calls(self, calls):
        size = self._behaviour.call_bytes or 1000
        data = b""
        for name, arguments in calls:
            data += self._event("contentBlockStop", contentBlockIndex=self._block)
            self._block += 1
            start = {"toolUse": {"toolUseId": f"tooluse_{self._block}", "name": name}}
            data += self._event("contentBlockStart", contentBlockIndex=self._block, start=start)
            written = json.dumps(arguments)
            for at in range(0, len(written), size):
                delta = {"toolUse": {"input": written[at : at + size]}}
                data += self._event("contentBlockDelta", contentBlockIndex=self._block, delta=delta)
        return data

    def finish(self, reason):
        told = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}[reason]
        return self._event("contentBlockStop", contentBlockIndex=self._block) + self._event(
            "messageStop", stopReason=told
        )

    def usage(self, prompt_tokens, completion_tokens):
        counts = {"inputTokens": prompt_tokens, "outputTokens": completion_tokens}
        total = prompt_tokens + completion_tokens
        return self._event("metadata", usage={**counts, "totalTokens": total}, metrics={"latencyMs": 1})

    def done(self):
        return b""

    def malformed(self):
        return self._message({":event-type": "contentBlockDelta", ":message-type": "event"}, b'{"delta": {"te')

    def error(self):
        is_full = self._behaviour.code == "context_length_exceeded"
        kind, message = ("validationException", self.too_long) if is_full else ("internalServerException", "Try again.")
        headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
        return self._message(headers, json.dumps({"message": message}).encode())
