"""The messages a model is given."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to have a tool called; `arguments` is what it wrote: JSON, if it kept to the rules."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a prompt. Other participants' words are always `user`.

    `tool_calls` are what an `assistant` asked for; a `tool` message is the result of the call `tool_call_id`.
    """

    role: Role
    content: str
    tool_calls: Sequence[ToolCall] = field(default_factory=tuple)
    tool_call_id: str | None = None
