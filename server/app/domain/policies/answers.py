"""What a model meant by its answer: JSON, also between other words."""

import json
from collections.abc import Mapping
from typing import Any

LONGEST_ANSWER = 8_000
"""Characters that are looked at."""


def find_object(text: str) -> Mapping[str, Any] | None:
    """The first JSON object in a text, bare, fenced or between other words; None if it holds none."""
    text = text[:LONGEST_ANSWER]
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start != -1:
        try:
            found, _end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        return found if isinstance(found, dict) else None
    return None
