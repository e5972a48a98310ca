"""Limits of a discussion, checked before a turn with its worst case."""

from dataclasses import dataclass

from app.domain.discussion import EndReason

MAX_TURNS = 10_000


@dataclass(frozen=True, slots=True)
class Spending:
    """What a discussion has used, or what one more turn would use at worst. An unknown price counts as 0."""

    turns: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """None: no such limit, but `MAX_TURNS` always holds."""

    max_turns: int | None = None
    max_tokens: int | None = None
    max_cost_usd: float | None = None
    max_seconds: float | None = None

    def breach(self, used: Spending, worst_case: Spending) -> EndReason | None:
        """Why the next turn may not be taken, or None if even its worst case fits."""
        if used.turns >= (self.max_turns or MAX_TURNS):
            return EndReason.MAX_TURNS
        if self.max_tokens is not None and used.tokens + worst_case.tokens > self.max_tokens:
            return EndReason.MAX_TOKENS
        if self.max_cost_usd is not None and used.cost_usd + worst_case.cost_usd > self.max_cost_usd:
            return EndReason.MAX_COST
        if self.max_seconds is not None and used.seconds >= self.max_seconds:
            return EndReason.MAX_SECONDS
        return None
