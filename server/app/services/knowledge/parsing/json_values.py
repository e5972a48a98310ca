"""JSON: a line `path: value` for each value, the members of a list apart, so that each is found by what it is."""

import json
from collections.abc import Iterator
from typing import Any

from app.services.knowledge.parsing.draft import Draft, clean
from app.services.knowledge.parsing.errors import FileDamaged


def read_json(text: str, draft: Draft) -> None:
    """Write all values; raise `FileDamaged` if it is no JSON."""
    try:
        value = parse(text)
    except ValueError as error:
        raise _broken(error, text) from None
    _write(value, "", draft)


def read_json_lines(text: str, draft: Draft) -> None:
    """Write the value of each line; raise `FileDamaged` if one is no JSON."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                value = parse(line)
            except ValueError:
                raise FileDamaged(
                    f"line {number} of the file is no JSON: correct it and upload the file again"
                ) from None
            _write(value, "", draft)


def parse(text: str) -> Any:
    """The value, its numbers as they are written; raise `ValueError` or `RecursionError`."""
    return json.loads(text, parse_int=str, parse_float=str)


def _broken(error: ValueError, text: str) -> FileDamaged:
    place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
    return FileDamaged(f"the file is no JSON{place}: correct it and upload it again")


def _write(value: Any, path: str, draft: Draft) -> None:
    apart = True
    for place, leaf, begins in _leaves(value, path):
        apart = apart or begins
        said = "" if leaf is None else str(leaf).lower() if isinstance(leaf, bool) else clean(str(leaf))
        if said.strip():
            draft.block(f"{place}: {said}" if place else said, gap="\n\n" if apart else "\n")
            apart = False


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any, bool]]:
    """Each value that is neither list nor object, its path, and whether a member of a list of such begins with it.

    Without recursion: the tree may be deep.
    """
    waiting: list[tuple[str, Any, bool]] = [(path, value, True)]
    while waiting:
        place, one, begins = waiting.pop()
        if isinstance(one, dict):
            members = [(f"{place}.{name}" if place else str(name), member) for name, member in one.items()]
        elif isinstance(one, list):
            members = [(f"{place}[{number}]", member) for number, member in enumerate(one)]
        else:
            yield place, one, begins
            continue
        nested = isinstance(one, list) and any(isinstance(member, dict | list) for _, member in members)
        first = (*members[0], nested or begins) if members else None
        waiting += [(*member, nested) for member in members[:0:-1]]
        if first is not None:
            waiting.append(first)
