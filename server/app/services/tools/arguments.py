"""The arguments of a call, as models write them: JSON if all is well, and held against the tool's schema."""

from typing import Any

import orjson

from app.core.json_schema import BadSchema, compile_schema
from app.services.tools.base import Arguments, Faults, ToolFailed

MOST_ARGUMENT_BYTES = 64 * 1024
MOST_FAULTS = 5
"""How many faults a model is told at once."""


def faults_by(parameters: dict[str, Any]) -> Faults:
    """Judge by that JSON Schema; raise ValueError if it is none, or one that could cost too much."""
    try:
        schema = compile_schema(parameters)
    except BadSchema as error:
        raise ValueError(error.detail) from None
    return lambda value: schema.faults(value)[:MOST_FAULTS]


def read_arguments(written: str, faults: Faults) -> Arguments:
    """The arguments, if they are what the tool takes; else raise `ToolFailed`, which says what is wrong."""
    if len(written) > MOST_ARGUMENT_BYTES:
        raise ToolFailed("the arguments are too long")
    try:
        arguments: Any = orjson.loads(written.strip() or "{}")
    except orjson.JSONDecodeError as error:
        raise ToolFailed(f"the arguments are no JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise ToolFailed("the arguments must be a JSON object")
    if found := faults(arguments):
        raise ToolFailed(f"the arguments do not fit: {'; '.join(found)}")
    return arguments
