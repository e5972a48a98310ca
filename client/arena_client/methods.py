"""How methods of the blocking client are made of operations, keeping their signatures and docstrings."""

from collections.abc import Callable, Iterator
from typing import Concatenate, ParamSpec

from arena_client.connection import Connection
from arena_client.following import Following
from arena_client.request import Listing, Page, Request, T
from arena_client.signature import like
from arena_client.streams import EventStream

P = ParamSpec("P")


class Caller:
    """Whatever makes requests."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection


def method(operation: Callable[P, Request[T]]) -> Callable[Concatenate[Caller, P], T]:
    @like(operation)
    def call(self: Caller, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._connection.send(operation(*args, **kwargs))

    return call


def pages(operation: Callable[P, Listing[T]]) -> Callable[Concatenate[Caller, P], Iterator[T]]:
    """Every item of a list, page by page as they are asked for."""

    @like(operation, Iterator)
    def call(self: Caller, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        listing = operation(*args, **kwargs)
        request: Request[Page[T]] | None = listing.first()
        while request is not None:
            page = self._connection.send(request)
            yield from page.items
            request = listing.next(page)

    return call


def stream(operation: Callable[P, Following]) -> Callable[Concatenate[Caller, P], EventStream]:
    @like(operation, EventStream)
    def call(self: Caller, /, *args: P.args, **kwargs: P.kwargs) -> EventStream:
        return EventStream(self._connection.events, operation(*args, **kwargs))

    return call
