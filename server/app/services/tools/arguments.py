"""The arguments of a call, as models write them: JSON if all is well, and held against the tool's schema."""

from typing import Any

import orjson
from jsonschema_rs import Draft202012Validator, RegexOptions

from app.services.tools.base import Arguments, Faults, ToolFailed

MOST_ARGUMENT_BYTES = 64 * 1024
MOST_FAULTS = 5
"""How many faults a model is told at once."""
LONGEST_FAULT = 300


def faults_by(parameters: dict[str, Any]) -> Faults:
    """Judge by that JSON Schema; raise ValueError if it is none. Nothing is fetched, patterns take linear time."""
    patterns = RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)
    validator = Draft202012Validator(parameters, offline=True, pattern_options=patterns)

    def faults(value: Any) -> list[str]:
        found = []
        for error in validator.iter_errors(value):
            place = "/".join(map(str, error.instance_path))
            found.append(f"{place}: {error.message}"[:LONGEST_FAULT] if place else error.message[:LONGEST_FAULT])
            if len(found) == MOST_FAULTS:
                break
        return found

    return faults


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
