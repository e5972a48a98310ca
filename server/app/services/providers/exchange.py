"""One exchange with a provider as a line of JSON: what was asked, what came back and when.

```json
{"at": "2026-11-24T21:00:00Z", "model": "local/smollm2-135m", "context_tokens": 2048,
 "request": {"messages": [{"role": "user", "content": "Go remote?"}], "max_tokens": 90},
 "deltas": [[12.5, "One"], [31.0, " thing"]],
 "finish": {"reason": "stop", "prompt_tokens": 61, "completion_tokens": 2, "ms": 31.2}}
```

What asks for tools, or holds what came of them, has `tools` in its request, with `may_call_tools` where that is false,
`tool_calls` and `tool_call_id` in its messages; a reply that wants some called has `tool_calls` in its `finish`, each
with `id`, `name` and `arguments`.
In place of `finish` it may have `error` (`code`, `detail`, `ms` and, where known, `retry_after_seconds` and `phase`),
or neither, if the consumer ended the call. Times are milliseconds since its beginning.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from app.domain.prompt import ChatMessage, ToolCall
from app.services.providers import base
from app.services.providers.base import ChatRequest, Finished, ModelError, ModelTimedOut

_ERRORS = {
    kind.code: kind
    for kind in vars(base).values()
    if isinstance(kind, type) and issubclass(kind, ModelError) and kind is not ModelTimedOut
}
"""Every error of a provider that is made of its detail alone."""
_PHASES = {"connect", "first_token", "idle", "total"}
_FLOATS = ("temperature", "top_p", "frequency_penalty", "presence_penalty")


class ExchangeUnreadable(ValueError):
    """The line is no exchange."""


def request_fields(request: ChatRequest) -> dict[str, Any]:
    """All that decides the reply, but for the model's name."""
    fields = {name: value for name, value in asdict(request).items() if name != "model" and value not in (None, ())}
    if request.may_call_tools:
        del fields["may_call_tools"]
    if tools := fields.pop("tools", None):
        fields["tools"] = list(tools)
    fields["messages"] = [_message_fields(message) for message in request.messages]
    if "stop" in fields:
        fields["stop"] = list(fields["stop"])
    return fields


def _message_fields(message: ChatMessage) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        fields["tool_calls"] = call_fields(message.tool_calls)
    if message.tool_call_id is not None:
        fields["tool_call_id"] = message.tool_call_id
    return fields


def call_fields(calls: Sequence[ToolCall]) -> list[dict[str, str]]:
    return [asdict(call) for call in calls]


def key_of(fields: dict[str, Any]) -> bytes:
    """The same for requests that are to have the same reply: 1 is 1.0, and the order of names does not matter."""
    numbers = {name: float(fields[name]) for name in _FLOATS if name in fields}
    return hashlib.sha256(orjson.dumps({**fields, **numbers}, option=orjson.OPT_SORT_KEYS)).digest()


def error_fields(error: ModelError, milliseconds: float) -> dict[str, Any]:
    fields = {
        "code": error.code,
        "detail": error.detail,
        "ms": milliseconds,
        "retry_after_seconds": error.retry_after_seconds,
        "phase": getattr(error, "phase", None),
    }
    return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came back: the deltas with their times in seconds, then one of `finished` and `error`."""

    deltas: list[tuple[float, str]]
    ends_after: float
    finished: Finished | None = None
    error: dict[str, Any] | None = None

    def failure(self) -> ModelError:
        """The recorded error, of the class that it was."""
        assert self.error is not None
        detail, retry_after = str(self.error["detail"]), self.error.get("retry_after_seconds")
        if self.error["code"] == ModelTimedOut.code and self.error.get("phase") in _PHASES:
            return ModelTimedOut(detail, phase=self.error["phase"], retry_after_seconds=retry_after)
        return _ERRORS.get(self.error["code"], ModelError)(detail, retry_after_seconds=retry_after)


def read_exchange(line: bytes) -> tuple[bytes, Exchange | None]:
    """The key of the request and what came back, None if its consumer ended it; raise `ExchangeUnreadable`."""
    try:
        document = orjson.loads(line)
        key = key_of(document["request"])
        deltas = [(float(ms) / 1000, str(text)) for ms, text in document["deltas"] if text]
        if end := document.get("finish"):
            calls = tuple(
                ToolCall(str(call["id"]), str(call["name"]), str(call["arguments"]))
                for call in end.get("tool_calls") or ()
            )
            finished = Finished(str(end["reason"]), end.get("prompt_tokens"), end.get("completion_tokens"), calls)
            return key, Exchange(deltas, float(end["ms"]) / 1000, finished=finished)
        if end := document.get("error"):
            exchange = Exchange(deltas, float(end["ms"]) / 1000, error=end)
            exchange.failure()
            return key, exchange
    except (ValueError, TypeError, LookupError, AttributeError):
        raise ExchangeUnreadable from None
    return key, None
