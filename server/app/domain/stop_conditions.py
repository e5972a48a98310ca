"""When a discussion has said enough."""

from collections.abc import Iterable, Mapping
from typing import Any


def is_met(conditions: Iterable[Mapping[str, Any]], content: str) -> bool:
    """Whether any condition holds after a message with that content. A phrase is found in whatever case."""
    said = content.casefold()
    return any(condition["type"] == "phrase" and condition["phrase"].casefold() in said for condition in conditions)
