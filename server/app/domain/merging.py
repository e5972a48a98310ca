"""What several parts of a document say about the same form, as one: values with where they come from. Without I/O.

Of values that exclude each other the one that most parts give counts, those that were found in the text before those
that were not; of as many the first. Objects are merged field by field. Lists are united without what is in them
already: a value that is the same but for case and blanks, or an object of which another says all that it says.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_SOURCES = 5
"""Of one value."""
MOST_COMPARED = 1_000
"""Objects of a list, each with each; of more, only those that are equal are found to be the same."""

Source = Mapping[str, Any]
"""A place in the document: `chunk_id`, `span`, `page` and `quote`, as they are kept and shown."""
Sources = Mapping[str, Sequence[Source]]
"""Of values, by their JSON Pointers."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of the document gave; a value without sources was not found in the text."""

    value: Any
    sources: Sources


@dataclass(frozen=True, slots=True)
class Merged:
    """`unsupported` are the pointers of values without sources."""

    value: dict[str, Any]
    sources: dict[str, list[Source]]
    unsupported: list[str]


@dataclass(frozen=True, slots=True)
class _Found:
    """A value in a part, at its pointer there."""

    value: Any
    at: str
    sources: Sources

    @property
    def own_sources(self) -> Sequence[Source]:
        return self.sources.get(self.at, ())

    @property
    def is_supported(self) -> bool:
        """Whether it, or anything in it, was found in the text."""
        return any(at == self.at or at.startswith(f"{self.at}/") for at in self.sources)

    def inside(self, step: str | int) -> "_Found":
        return _Found(self.value[step], pointer_to(self.at, step), self.sources)


class _Nothing:
    """No part says anything."""


_NOTHING = _Nothing()


def merge(parts: Sequence[Part]) -> Merged:
    """One object made of all parts, each of which is an object."""
    merging = _Merging()
    value = merging.join([_Found(part.value, "", part.sources) for part in parts], "")
    return Merged(value if isinstance(value, dict) else {}, merging.sources, merging.unsupported)


def pointer_to(parent: str, step: str | int) -> str:
    """The JSON Pointer of what is at `step` of the object or list at `parent`."""
    return f"{parent}/{str(step).replace('~', '~0').replace('/', '~1')}"


def leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Each scalar with its pointer, in their order."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from leaves(one, pointer_to(at, name))
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from leaves(one, pointer_to(at, place))
    else:
        yield at, value


def says_nothing(value: Any) -> bool:
    """Whether it is how a model says that there is no such value."""
    return value is None or (isinstance(value, str) and not value.strip())


@dataclass(slots=True)
class _Merging:
    sources: dict[str, list[Source]] = field(default_factory=dict)
    unsupported: list[str] = field(default_factory=list)

    def join(self, found: Sequence[_Found], at: str) -> Any:
        """The value at that pointer of the outcome, of which parts say these."""
        found = [one for one in found if not says_nothing(one.value)]
        if not found:
            return _NOTHING
        first = found[0]
        if any(_kind(one.value) is not _kind(first.value) for one in found):
            first = next((one for one in found if one.is_supported), first)
        alike = [one for one in found if _kind(one.value) is _kind(first.value)]
        if isinstance(first.value, dict):
            return self._join_objects(alike, at)
        if isinstance(first.value, list):
            return self._join_lists(alike, at)
        return self._vote(alike, at)

    def _join_objects(self, found: Sequence[_Found], at: str) -> Any:
        names = dict.fromkeys(name for one in found for name in one.value)
        joined = {
            name: self.join([one.inside(name) for one in found if name in one.value], pointer_to(at, name))
            for name in names
        }
        said = {name: value for name, value in joined.items() if value is not _NOTHING}
        return said if said or not at else _NOTHING

    def _join_lists(self, found: Sequence[_Found], at: str) -> list[Any]:
        united: list[Any] = []
        for same in _grouped([one.inside(place) for one in found for place in range(len(one.value))]):
            value = self.join(same, pointer_to(at, len(united)))
            if value is not _NOTHING:
                united.append(value)
        return united

    def _vote(self, found: Sequence[_Found], at: str) -> Any:
        votes: dict[Hashable, list[_Found]] = {}
        for one in found:
            votes.setdefault(_key(one.value), []).append(one)
        # The first of those that are as good: `max` and `dict` keep the order.
        chosen = max(votes.values(), key=lambda same: (sum(bool(one.own_sources) for one in same), len(same)))
        places = {_place(source): source for one in chosen for source in one.own_sources}
        if places:
            self.sources[at] = list(places.values())[:MOST_SOURCES]
        else:
            self.unsupported.append(at)
        return next((one.value for one in chosen if one.own_sources), chosen[0].value)


def _grouped(items: Sequence[_Found]) -> list[list[_Found]]:
    """The items of lists, those that are the same together."""
    groups: dict[Hashable, list[_Found]] = {}
    said_by: dict[Hashable, dict[str, Hashable]] = {}
    for item in items:
        said = _said(item.value) if isinstance(item.value, dict) else None
        key: Hashable = _key(item.value)
        if said and key not in groups:
            key = next((other for other, known in said_by.items() if _says_the_same(known, said)), key)
        groups.setdefault(key, []).append(item)
        if said and (key in said_by or len(said_by) < MOST_COMPARED):
            said_by[key] = said_by.get(key, {}) | said
    return list(groups.values())


def _said(value: dict[str, Any]) -> dict[str, Hashable]:
    """What an object says, by the pointers into it."""
    return {at: _key(one) for at, one in leaves(value) if not says_nothing(one)}


def _says_the_same(one: dict[str, Hashable], other: dict[str, Hashable]) -> bool:
    """Whether all that one of them says the other says, too."""
    fewer, more = sorted((one, other), key=len)
    return all(at in more and more[at] == key for at, key in fewer.items())


def _kind(value: Any) -> type:
    return type(value) if isinstance(value, dict | list) else str


def _key(value: Any) -> Hashable:
    """The same of values that are the same."""
    if isinstance(value, dict):
        return ("object", frozenset((name, _key(one)) for name, one in value.items() if not says_nothing(one)))
    if isinstance(value, list):
        return ("list", tuple(_key(one) for one in value))
    if isinstance(value, str):
        return ("text", " ".join(value.casefold().split()))
    return ("flag" if isinstance(value, bool) else "number", value)


def _place(source: Source) -> Hashable:
    return (source["chunk_id"], source["span"]["start"], source["span"]["end"])
