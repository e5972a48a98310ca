"""What an operation asks of the server, as data: either kind of client sends it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import httpx2

from arena_client.decode import decode
from arena_client.wire import json_object, without_none

PAGE = 200

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Read(Protocol[T_co]):
    """What is made of a successful answer."""

    def __call__(self, response: httpx2.Response, /) -> T_co: ...


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """One exchange of the contract; an anonymous one is sent without our token."""

    method: str
    where: str
    read: Read[T]
    query: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    form: Mapping[str, str] | None = None
    files: Mapping[str, tuple[str, bytes]] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A piece of a list."""

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list of the contract, to be asked for page by page."""

    kind: type[T]
    where: str
    query: Mapping[str, Any]

    def first(self) -> Request[Page[T]]:
        return self._page(None)

    def next(self, page: Page[T]) -> Request[Page[T]] | None:
        """The request for what follows `page`; None if nothing does."""
        return None if page.next_cursor is None else self._page(page.next_cursor)

    def _page(self, cursor: str | None) -> Request[Page[T]]:
        query = without_none(**self.query, limit=PAGE, cursor=cursor)
        return Request("GET", self.where, self._read, query)

    def _read(self, response: httpx2.Response) -> Page[T]:
        body = json_object(response)
        return Page([decode(self.kind, item) for item in body["items"]], body["next_cursor"])


def fetch(kind: type[T], where: str) -> Request[T]:
    return Request("GET", where, _one(kind))


def submit(kind: type[T], where: str, body: Mapping[str, Any] | None = None) -> Request[T]:
    return Request("POST", where, _one(kind), json=body)


def change(kind: type[T], where: str, fields: Mapping[str, Any], version: int | None) -> Request[T]:
    """Change the fields given, if it is still at `version`, where that is not None."""
    headers = {} if version is None else {"If-Match": f'"{version}"'}
    return Request("PATCH", where, _one(kind), json=fields, headers=headers)


def bare(method: str, where: str) -> Request[None]:
    """One whose answer says no more than that it was done."""
    return Request(method, where, lambda _response: None)


def listing(kind: type[T], where: str, /, **query: Any) -> Listing[T]:
    """Every item; what is None is not asked for."""
    return Listing(kind, where, query)


def _one(kind: type[T]) -> Read[T]:
    return lambda response: decode(kind, json_object(response))
