"""When a discussion has said enough."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.domain.policies import History, Question, Seat


def asks_for_agreement(conditions: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a model has to be asked before `is_met` can tell."""
    return any(
        condition["type"] == "agreement" or asks_for_agreement(condition.get("of", ())) for condition in conditions
    )


def is_met(
    conditions: Iterable[Mapping[str, Any]],
    roster: Sequence[Seat],
    history: History,
    *,
    agreement: bool | None = None,
) -> bool:
    """Whether any condition holds after the last turn. A phrase is found in whatever case.

    `agreement` is what a model said of it; None: it was not asked.
    """
    said = history.recent[0].content.casefold() if history.recent else ""
    return any(condition["type"] == "phrase" and condition["phrase"].casefold() in said for condition in conditions)


def agreement_question(roster: Sequence[Seat], history: History) -> Question | None:
    """What to ask a model about the last messages of all speakers; None while some have not spoken."""
    return None
