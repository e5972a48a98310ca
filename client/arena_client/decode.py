"""From JSON to this package's dataclasses."""

import dataclasses
import functools
import types
import typing
from datetime import datetime
from typing import Any, TypeVar

T = TypeVar("T")


def decode(kind: type[T], data: dict[str, Any]) -> T:
    """Build the dataclass `kind`; fields it does not know are left out, so that a newer server is understood."""
    hints = _hints(kind)  # type: ignore[arg-type]  # mypy: a class is not hashable
    return kind(**{name: _value(hint, data[name]) for name, hint in hints.items() if name in data})


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _value(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is types.UnionType:
        return _value(next(one for one in arguments if one is not types.NoneType), value)
    if typing.get_origin(hint) is list:
        return [_value(arguments[0], item) for item in value]
    if hint is datetime:
        return datetime.fromisoformat(value)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return decode(hint, value)
    return value
