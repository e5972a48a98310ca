"""Limits of a discussion, checked before a turn with its worst case.

The turn before the end is the wrap-up turn: the last one of `max_turns`, the first one after `max_seconds`, or the one
that may leave too little of `max_tokens` or `max_cost_usd` for another, made shorter where it must be to fit.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.discussion import EndReason

MAX_TURNS = 10_000
LAST_SECONDS = 300.0
_SHORT_OF = {EndReason.MAX_TOKENS: "max_tokens", EndReason.MAX_COST: "max_cost_usd"}


@dataclass(frozen=True, slots=True)
class Spending:
    """What a discussion has used, or what one more turn would use at worst. An unknown price counts as 0."""

    turns: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: "Spending") -> "Spending":
        return Spending(
            self.turns + other.turns,
            self.tokens + other.tokens,
            self.cost_usd + other.cost_usd,
            self.seconds + other.seconds,
        )

    def __sub__(self, other: "Spending") -> "Spending":
        """What is left of it, never less than nothing."""
        return Spending(
            max(self.turns - other.turns, 0),
            max(self.tokens - other.tokens, 0),
            max(self.cost_usd - other.cost_usd, 0.0),
            max(self.seconds - other.seconds, 0.0),
        )

    def at_least(self, other: "Spending") -> "Spending":
        """The greater of both in tokens and in dollars."""
        return Spending(tokens=max(self.tokens, other.tokens), cost_usd=max(self.cost_usd, other.cost_usd))

    def within(self, left: "Left") -> "Spending":
        """As much of its tokens and dollars as that leaves room for."""
        return Spending(
            tokens=self.tokens if left.tokens is None else min(self.tokens, left.tokens),
            cost_usd=self.cost_usd if left.cost_usd is None else min(self.cost_usd, left.cost_usd),
        )


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How much of a limit is used."""

    limit: str
    used: float
    most: float

    @property
    def is_near(self) -> bool:
        """Whether four fifths are used."""
        return self.used * 5 >= self.most * 4


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of tokens and dollars; None: as much as one likes."""

    tokens: int | None = None
    cost_usd: float | None = None

    def lacks(self, worst_case: Spending) -> EndReason | None:
        """Which limit has no room for that."""
        if self.tokens is not None and worst_case.tokens > self.tokens:
            return EndReason.MAX_TOKENS
        if self.cost_usd is not None and worst_case.cost_usd > self.cost_usd:
            return EndReason.MAX_COST
        return None

    def without(self, spending: Spending) -> "Left":
        """What that leaves of it."""
        return Left(
            None if self.tokens is None else self.tokens - spending.tokens,
            None if self.cost_usd is None else self.cost_usd - spending.cost_usd,
        )

    def within(self, other: "Left | None") -> "Left":
        """What both leave."""
        if other is None:
            return self
        tokens = (one.tokens for one in (self, other) if one.tokens is not None)
        dollars = (one.cost_usd for one in (self, other) if one.cost_usd is not None)
        return Left(min(tokens, default=None), min(dollars, default=None))


UNLIMITED = Left()


@dataclass(frozen=True, slots=True)
class Limits:
    """None: no such limit, but `MAX_TURNS` always holds."""

    max_turns: int | None = None
    max_tokens: int | None = None
    max_cost_usd: float | None = None
    max_seconds: float | None = None

    @property
    def turns(self) -> int:
        """The most turns there can be."""
        return self.max_turns or MAX_TURNS

    def over(self, used: Spending) -> EndReason | None:
        """Why no turn may follow the one that is over, whatever it would use."""
        if used.turns >= self.turns:
            return EndReason.MAX_TURNS
        return self.most.without(used).lacks(Spending())

    def last_turn(self, used: Spending) -> EndReason | None:
        """Why the turn that follows is the last one, None if more may follow or it is the only one."""
        if self.max_seconds is not None and used.seconds >= self.max_seconds:
            return EndReason.MAX_SECONDS
        if used.turns + 1 == self.turns and self.turns > 1:
            return EndReason.MAX_TURNS
        return None

    def deadline(self, now: datetime, seconds: float | None, started_at: datetime | None) -> datetime | None:
        """Until when somebody outside may answer: for so many seconds, and no longer than the discussion may last.

        Past `max_seconds` the wrap-up turn has all its seconds, and `LAST_SECONDS` where nothing else bounds it.
        """
        if self.max_seconds is not None and started_at is not None:
            over = started_at + timedelta(seconds=self.max_seconds)
            if over <= now:
                return now + timedelta(seconds=seconds or LAST_SECONDS)
            return over if seconds is None else min(over, now + timedelta(seconds=seconds))
        return None if seconds is None else now + timedelta(seconds=seconds)

    def left(self, used: Spending) -> Left | None:
        """What may still be spent; None where nothing bounds that."""
        if self.max_tokens is None and self.max_cost_usd is None:
            return None
        return self.most.without(used)

    @property
    def most(self) -> Left:
        """What may be spent in all."""
        return Left(self.max_tokens, self.max_cost_usd)

    def warnings(self, used: Spending, warned: Collection[str], last: EndReason | None = None) -> list[LimitUse]:
        """The limits that are used to four fifths by now, or leave room for no more than a `last` turn.

        None is warned of twice.
        """
        short_of = _SHORT_OF.get(last) if last is not None else None
        return [one for one in self._used(used) if one.limit not in warned and (one.is_near or one.limit == short_of)]

    def use_of(self, reason: EndReason, used: Spending) -> LimitUse:
        """How much is used of the limit on tokens or dollars that ends it for that reason."""
        return next(one for one in self._used(used) if one.limit == _SHORT_OF[reason])

    def _used(self, used: Spending) -> Iterator[LimitUse]:
        yield LimitUse("max_turns", used.turns, self.turns)
        if self.max_tokens is not None:
            yield LimitUse("max_tokens", used.tokens, self.max_tokens)
        if self.max_cost_usd is not None:
            yield LimitUse("max_cost_usd", round(used.cost_usd, 8), self.max_cost_usd)
        if self.max_seconds is not None:
            yield LimitUse("max_seconds", round(used.seconds, 3), self.max_seconds)
