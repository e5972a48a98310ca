"""What models were seen to refuse."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from time import monotonic
from typing import Any, Literal

from cachetools import TTLCache

KEPT_SECONDS = 600.0
MOST_KEPT = 1_000

Wish = Literal["tools", "response_schema", "temperature"]
"""A parameter of a request that can be left out of it."""


class Refusals:
    """What the models of one provider were seen to refuse, for ten minutes; where it is too much the oldest goes.

    All workspaces share the models that the settings name. So a refusal counts for the very value that was refused:
    one workspace's bad schema takes schemas from nobody else.
    """

    def __init__(self, timer: Callable[[], float] = monotonic) -> None:
        self._seen: TTLCache[bytes, bool] = TTLCache(MOST_KEPT, KEPT_SECONDS, timer)

    def note(self, wire_name: str, wish: Wish, value: object) -> None:
        self._seen[_key(wire_name, wish, value)] = True

    def has(self, wire_name: str, wish: Wish, value: object) -> bool:
        return len(self._seen) > 0 and _key(wire_name, wish, value) in self._seen


def _key(wire_name: str, wish: Wish, value: object) -> bytes:
    """A digest: values may be long."""
    return hashlib.sha256(json.dumps([wire_name, wish, value], default=_fields).encode()).digest()


def _fields(tool: Any) -> dict[str, Any]:
    return asdict(tool)
