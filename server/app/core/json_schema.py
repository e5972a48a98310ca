"""JSON Schemas that callers bring (Draft 2020-12): checked before they are used, and bounded in what they can cost.

Always holds: nothing is fetched, whatever a schema refers to; a pattern takes time in proportion to the text; what a
validation visits is bounded, also where definitions refer to each other: where they do so in a circle, by how deep a
value may nest. So each circle leads into the value.
"""

import json
import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import jsonschema_rs
import orjson

from app.core.errors import Invalid

MOST_BYTES = 64 * 1024
DEEPEST_SCHEMA = 40
DEEPEST_VALUE = 64
MOST_REFERENCES = 200
MOST_VISITS = 20_000
"""Of parts of the schema, for one value: each that finds a fault takes about 40 µs."""
MOST_FAULTS = 20
MOST_FAULT_CHARACTERS = 300
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)
_DATA = frozenset({"enum", "const", "default", "examples"})
_KEPT = frozenset({"$defs", "definitions"})
"""Where definitions are, which count where they are referred to."""
_STAYING = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")
"""What holds its schemas against the same value."""
_STAYING_BY_NAME = ("dependentSchemas", "dependencies")
_ELSEWHERE = ("$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$anchor")


class BadSchema(Invalid):
    """This is no JSON Schema, or one that could cost too much."""

    code = "bad_schema"
    where = ("body", "schema")


class Schema:
    """A schema that values can be held against; `document` is the caller's."""

    def __init__(self, document: dict[str, Any], validator: Any, deepest: int) -> None:
        self.document = document
        self._validator = validator
        self._deepest = deepest

    def faults(self, value: Any) -> list[str]:
        """What does not fit, each with where it is: `/items/0: "x" is not of type "integer"`. None: all fits."""
        if _depth(value, self._deepest) > self._deepest:
            return [f"/: nests deeper than {self._deepest} levels"]
        found = []
        for error in self._validator.iter_errors(value):
            place = "/" + "/".join(map(str, error.instance_path))
            found.append(f"{place}: {error.message}"[:MOST_FAULT_CHARACTERS])
            if len(found) == MOST_FAULTS:
                break
        return found

    def missing(self, value: Any) -> list[str]:
        """The JSON Pointers of what the schema requires and the value has not, as far as it was looked for."""
        if _depth(value, self._deepest) > self._deepest:
            return []
        found = []
        for error in islice(self._validator.iter_errors(value), MOST_FAULTS):
            if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Required):
                steps = [str(step) for step in (*error.instance_path, error.kind.property)]
                found.append("".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps))
        return found


def compile_schema(schema: Any) -> Schema:
    """The schema, ready for use; raise `BadSchema` with what is wrong with it."""
    if not isinstance(schema, dict):
        raise BadSchema("a JSON Schema is an object")
    _check_size(schema)
    deepest = _deepest_value(schema)
    try:
        validator = jsonschema_rs.Draft202012Validator(schema, offline=True, pattern_options=_PATTERNS)
    except jsonschema_rs.ValidationError as error:
        place = "/" + "/".join(map(str, error.instance_path))
        raise BadSchema(f"this is no JSON Schema: {place}: {error.message}"[:MOST_FAULT_CHARACTERS]) from None
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        raise BadSchema(f"this JSON Schema cannot be used: {error}"[:MOST_FAULT_CHARACTERS]) from None
    return Schema(schema, validator, deepest)


def _check_size(schema: dict[str, Any]) -> None:
    if _depth(schema, DEEPEST_SCHEMA) > DEEPEST_SCHEMA:
        raise BadSchema(f"a JSON Schema nests at most {DEEPEST_SCHEMA} levels deep")
    try:
        json.dumps(schema, allow_nan=False)
        text = orjson.dumps(schema)
    except (TypeError, ValueError):
        raise BadSchema("a JSON Schema holds JSON only: no NaN, no infinity, no half of a surrogate pair") from None
    if len(text) > MOST_BYTES:
        raise BadSchema(f"a JSON Schema has at most {MOST_BYTES} bytes")
    if b"\\u0000" in text:
        raise BadSchema("a JSON Schema must not contain the NUL character")


def _depth(value: Any, most: int) -> int:
    """How deep it nests, or `most` + 1 if it is more than `most`. Without recursion: a value may be very deep."""
    layer, depth = [value], 0
    while layer and depth <= most:
        layer = [
            part
            for one in layer
            if isinstance(one, dict | list)
            for part in (one.values() if isinstance(one, dict) else one)
            if isinstance(part, dict | list)
        ]
        depth += 1
    return depth


def _deepest_value(schema: dict[str, Any]) -> int:
    """How deep a value may nest, so that the visits of its validation are bounded; raise `BadSchema`."""
    targets = _targets(schema)
    staying = {pointer: list(_references_staying(part)) for pointer, part in targets.items()}
    if any(_reaches(staying, pointer, pointer) for pointer in staying):
        raise BadSchema("definitions of this JSON Schema refer to each other in a circle that leads into no value")
    references = {pointer: list(_references(part, but=_KEPT)) for pointer, part in targets.items()}
    circular = {pointer for pointer in references if _reaches(references, pointer, pointer)}
    if _expanded(references, "#", {}) > MOST_VISITS:
        raise BadSchema("the definitions of this JSON Schema refer to each other too often")
    # Each level of a value may be visited by as many ways as lead through the circles to the next.
    ways = math.prod(max(1, sum(to in circular for to in references[pointer])) for pointer in circular)
    if ways <= 1:
        return DEEPEST_VALUE
    return min(DEEPEST_VALUE, max(1, int(math.log(MOST_VISITS) / math.log(ways))))


def _targets(schema: dict[str, Any]) -> dict[str, Any]:
    """The whole schema and every part of it that is referred to, by its pointer."""
    targets: dict[str, Any] = {"#": schema}
    found = list(_references(schema))
    if len(found) > MOST_REFERENCES:
        raise BadSchema(f"a JSON Schema has at most {MOST_REFERENCES} references")
    for pointer in found:
        if pointer not in targets:
            targets[pointer] = _part(schema, pointer)
    return targets


def _references(part: Any, but: frozenset[str] = frozenset()) -> Iterator[str]:
    """The pointers that stand in it, `but` under these keywords; raise `BadSchema` for what leads elsewhere."""
    waiting = [part]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            for name in _ELSEWHERE:
                if isinstance(one.get(name), str | bool):
                    raise BadSchema(f"{name} is not taken here; refer to definitions by $ref: #/$defs/<name>")
            if one is not part and isinstance(one.get("$id"), str):
                raise BadSchema("$id is taken only of the whole schema")
            reference = one.get("$ref")
            if isinstance(reference, str):
                if reference != "#" and not reference.startswith("#/"):
                    raise BadSchema("$ref leads only to the schema's own definitions: #/$defs/<name>")
                yield reference
            waiting += [value for name, value in one.items() if name not in _DATA and name not in but]


def _references_staying(part: Any) -> Iterator[str]:
    """The pointers in it that are held against the same value as it is itself."""
    waiting = [part]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            if isinstance(one.get("$ref"), str):
                yield one["$ref"]
            waiting += [one[name] for name in _STAYING if name in one]
            for name in _STAYING_BY_NAME:
                if isinstance(one.get(name), dict):
                    waiting += one[name].values()


def _part(schema: Any, pointer: str) -> Any:
    part = schema
    for step in pointer.removeprefix("#/").split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        try:
            part = part[int(name)] if isinstance(part, list) else part[name]
        except (LookupError, ValueError, TypeError):
            raise BadSchema(f"$ref leads to {pointer[:100]}, which is not there") from None
    return part


def _reaches(references: dict[str, list[str]], start: str, end: str) -> bool:
    seen, waiting = set(), list(references[start])
    while waiting:
        pointer = waiting.pop()
        if pointer == end:
            return True
        if pointer not in seen:
            seen.add(pointer)
            waiting += references[pointer]
    return False


def _expanded(references: dict[str, list[str]], pointer: str, known: dict[str, int]) -> int:
    """How many references there are once each is replaced by what it leads to, those of circles counted once."""
    if pointer not in known:
        known[pointer] = 1
        known[pointer] = 1 + sum(_expanded(references, to, known) for to in references[pointer])
    return known[pointer]
