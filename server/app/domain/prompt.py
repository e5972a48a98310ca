"""The messages a model is given."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from app.domain.grounding import Source

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


class Prompt(list[ChatMessage]):
    """Messages that show `sources`, which the answer may cite: of each the text that is shown."""

    def __init__(self, messages: Iterable[ChatMessage], sources: Sequence[Source] = ()) -> None:
        super().__init__(messages)
        self.sources = sources
