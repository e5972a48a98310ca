"""Wire types of stop conditions."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union

from pydantic import BeforeValidator, Field

from app.domain.stop_conditions import DEFAULT_THRESHOLD, DEFAULT_WINDOW, MOST_SILENT_TURNS, MOST_WINDOW
from app.schemas.base import Line, Request

MOST_CONDITIONS = 50
MOST_DEPTH = 4
LONGEST_LIST = 20


class PhraseCondition(Request):
    """Met when a message contains the phrase, in whatever case."""

    type: Literal["phrase"]
    phrase: Line


class AgreementCondition(Request):
    """Met when a model finds that the last messages of all speakers agree; asked once a round at most.

    The moderator's model is asked, where an agent moderates, else the first agent's. The moderator need not agree.
    """

    type: Literal["agreement"]


class SilenceCondition(Request):
    """Met when the last `turns` turns all brought no message; default: as many as there are seats."""

    type: Literal["silence"]
    turns: Annotated[int, Field(ge=1, le=MOST_SILENT_TURNS)] | None = None


class RepetitionCondition(Request):
    """Met when a turn's message is nearly the same as one of the `window` messages before it.

    `threshold` is the least share of trigrams that both have. Messages of a few words are not looked at.
    """

    type: Literal["repetition"]
    window: Annotated[int, Field(ge=1, le=MOST_WINDOW)] = DEFAULT_WINDOW
    threshold: Annotated[float, Field(gt=0, le=1)] = DEFAULT_THRESHOLD


class AllConditions(Request):
    """Met when all of them are, after the same turn."""

    type: Literal["all"]
    of: list["StopCondition"] = Field(min_length=1, max_length=LONGEST_LIST)


class AnyCondition(Request):
    """Met when one of them is."""

    type: Literal["any"]
    of: list["StopCondition"] = Field(min_length=1, max_length=LONGEST_LIST)


StopCondition = Annotated[
    Union[  # noqa: UP007 - names that are still to come
        PhraseCondition, AgreementCondition, SilenceCondition, RepetitionCondition, AllConditions, AnyCondition
    ],
    Field(discriminator="type"),
]
AllConditions.model_rebuild()
AnyCondition.model_rebuild()


def _bounded(conditions: Any) -> Any:
    """Refuse what is nested too deeply or too much, before anything walks through it recursively."""
    left, level, depth = MOST_CONDITIONS, conditions, 0
    while isinstance(level, list) and level:
        depth, left = depth + 1, left - len(level)
        if depth > MOST_DEPTH:
            raise ValueError(f"stop conditions can be nested {MOST_DEPTH} deep at most")
        if left < 0:
            raise ValueError(f"there can be {MOST_CONDITIONS} stop conditions at most, nested ones included")
        inner = [one.get("of") for one in level if isinstance(one, Mapping)]
        level = [one for of in inner if isinstance(of, list) for one in of]
    return conditions


StopConditions = Annotated[list[StopCondition], Field(max_length=LONGEST_LIST), BeforeValidator(_bounded)]
"""Any of them ends the discussion."""
