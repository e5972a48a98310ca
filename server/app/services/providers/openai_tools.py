"""Tools in the OpenAI protocol: how they are offered, and how a model's calls are read as they arrive.

Servers differ in how they send a call: in pieces under an index, several pieces or several calls in one chunk, whole at
once, with the id missing or repeated, with one index for all calls or none at all. A piece belongs to the call of its
index, or to the last one where it names none; a new id, or another name, begins a new call all the same.
"""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import orjson

from app.domain.prompt import ChatMessage, ToolCall
from app.services.providers.base import Finished, ToolSpec
from app.services.providers.openai_reply import ReplyReader, without_lone_surrogates

MOST_TOOL_CALLS = 64
"""More in one reply are no wish but a model gone astray."""
MAX_CALLS_CHARACTERS = 256 * 1024
"""Of all calls of a reply together: their names, ids and arguments."""
CUT_SHORT = {"length", "content_filter"}
"""Reasons of an end before which the last call may not be whole: such a reply asks for nothing."""


def tools_as_sent(tools: Sequence[ToolSpec]) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in tools
    ]


def message_as_sent(message: ChatMessage) -> dict[str, Any]:
    """A message with the fields that its role has: some servers refuse empty ones."""
    if message.tool_call_id is not None:
        return {"role": message.role, "tool_call_id": message.tool_call_id, "content": message.content}
    if message.tool_calls:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
        return {"role": message.role, "content": message.content or None, "tool_calls": calls}
    return {"role": message.role, "content": message.content}


class _Call:
    """A call of which some has arrived."""

    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []

    def is_another(self, call_id: str, name: str) -> bool:
        """Whether a piece with that id and name begins a call of its own."""
        if call_id and self.id:
            return call_id != self.id
        return bool(name and self.name and name != self.name)

    def whole(self) -> ToolCall:
        arguments = storable("".join(self.arguments))
        return ToolCall(storable(self.id) or f"call_{uuid4().hex}", storable(self.name), arguments or "{}")


class CallingReplyReader(ReplyReader):
    """Reads a reply to a request that offers tools; others are spared what that costs."""

    __slots__ = ("_at", "_call_characters", "_calls")

    def __init__(self, host: str, *, secret: str = "", max_tokens: int | None = None) -> None:
        super().__init__(host, secret=secret, max_tokens=max_tokens)
        self._calls: list[_Call] = []
        self._at: dict[int, _Call] = {}  # the newest call of each index
        self._call_characters = 0

    def result(self) -> Finished:
        """The end, with the calls; raise `ModelMalformed` for one without a name."""
        end = super().result()
        if not self._calls or end.finish_reason in CUT_SHORT:
            reason = "stop" if end.finish_reason == "tool_calls" else end.finish_reason
            return Finished(reason, end.prompt_tokens, end.completion_tokens)
        calls = tuple(call.whole() for call in self._calls)
        if not all(call.name for call in calls):
            raise self._malformed("a tool call has no name")
        return Finished("tool_calls", end.prompt_tokens, end.completion_tokens, calls)

    def _take(self, chunk: Any, parts: list[str]) -> None:
        super()._take(chunk, parts)
        choices = chunk.get("choices")
        delta = choices[0].get("delta") if choices else None
        for piece in (delta.get("tool_calls") if delta else None) or ():
            self._take_piece(piece)

    def _take_piece(self, piece: dict[str, Any]) -> None:
        function = piece.get("function") or {}
        call_id, name = _text(piece.get("id")), _text(function.get("name"))
        arguments = _arguments(function.get("arguments"))
        call = self._call_of(piece.get("index"), call_id, name)
        call.id, call.name = call.id or call_id, call.name or name
        if arguments:
            call.arguments.append(arguments)
        self._call_characters += len(arguments) + len(call_id) + len(name)
        if self._call_characters > MAX_CALLS_CHARACTERS:
            raise self._malformed("its tool calls are too long")

    def _call_of(self, index: object, call_id: str, name: str) -> _Call:
        if index is not None and type(index) is not int:
            raise self._malformed("a tool call has an unknown shape")
        last = self._calls[-1] if self._calls else None
        call = self._at.get(index) if index is not None else last
        if call is None or call.is_another(call_id, name) or (index is None and name and not call_id == call.id != ""):
            if len(self._calls) == MOST_TOOL_CALLS:
                raise self._malformed(f"it asks for more than {MOST_TOOL_CALLS} tools at once")
            call = _Call()
            self._calls.append(call)
        if index is not None:
            self._at[index] = call
        return call


def _text(value: object) -> str:
    """A name or an id, "" where there is none."""
    if value is not None and not isinstance(value, str):
        raise TypeError
    return value or ""


def _arguments(value: object) -> str:
    """What the model wrote; some servers send the object itself."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def storable(text: str) -> str:
    return without_lone_surrogates(text).replace("\0", "")
