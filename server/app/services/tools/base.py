"""What a tool is, and what comes of calling one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.domain.documents import Passage
from app.services.providers.base import ToolSpec

Arguments = dict[str, Any]
Faults = Callable[[Any], list[str]]
"""What is wrong with a value, in sentences; nothing if it fits."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a tool gives: text for the model, and the passages that the text numbers, if it shows any."""

    text: str
    passages: Sequence[Passage] = field(default_factory=tuple)


class ToolFailed(Exception):
    """The tool cannot do that; the message tells the model why, and what would do, in a sentence."""


class Tool(Protocol):
    """One that may be called; the toolbox sees to it that the arguments fit and that it ends in time."""

    name: str
    """As agents name it."""
    spec: ToolSpec
    faults: Faults
    """What is wrong with arguments, by the schema of the spec."""

    async def call(self, arguments: Arguments) -> Found:
        """Do it; raise `ToolFailed`. It may be cancelled at any moment."""
        ...


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a model is told of its call: data, never instructions. `is_error` where the tool did not do it.

    `passages` are those that the text shows with their numbers, so that `[n]` can be traced to them.
    """

    text: str
    is_error: bool = False
    duration_ms: int = 0
    passages: Sequence[Passage] = field(default_factory=tuple)


def sayable(text: str) -> str:
    """Without what neither UTF-8 nor PostgreSQL has."""
    return text.encode(errors="replace").decode().replace("\x00", "")
