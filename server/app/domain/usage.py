"""What calls of models take. Without I/O."""

from dataclasses import dataclass
from typing import Any, Protocol


class Took(Protocol):
    """Whatever took tokens."""

    @property
    def prompt_tokens(self) -> int: ...

    @property
    def completion_tokens(self) -> int: ...

    @property
    def cost_usd(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Used:
    """What a call took that brought no message; an unknown price counts as 0."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0

    def __bool__(self) -> bool:
        return self.prompt_tokens + self.completion_tokens > 0

    def __add__(self, other: Took) -> "Used":
        return Used(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost_usd + other.cost_usd,
        )

    def as_data(self) -> dict[str, Any]:
        """As events show it."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost_usd": self.cost_usd,
        }


NOTHING = Used()
