"""What goes to the process that reads a file, and what comes back: a line of JSON, then bytes.

The standard library's `json` here, and no dataclasses: the reading process starts for each file, and imports of both
`orjson` and `dataclasses` would double that.
"""

import json
from typing import Any, NamedTuple


class Task(NamedTuple):
    """How a file is to be read: what is said about it, and what its reading may take."""

    file_name: str | None
    declared: str | None
    memory_bytes: int
    cpu_seconds: int
    pages: int
    characters: int

    def head(self) -> bytes:
        """The line before the file itself."""
        return _line(list(self))


def task_of(line: bytes) -> Task:
    """The opposite of `Task.head`."""
    return Task(*json.loads(line))


def answer_of(result: dict[str, Any], text: str = "") -> bytes:
    """A line with `result`, then the text in UTF-8."""
    return _line(result) + text.encode()


def _line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"
