"""How methods of the asynchronous client are made of operations, keeping their signatures and docstrings."""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec

from arena_client.async_connection import AsyncConnection
from arena_client.async_streams import AsyncEventStream
from arena_client.following import Following
from arena_client.request import Listing, Page, Request, T
from arena_client.signature import like

P = ParamSpec("P")


class AsyncCaller:
    """Whatever makes requests."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection


def method(operation: Callable[P, Request[T]]) -> Callable[Concatenate[AsyncCaller, P], Coroutine[Any, Any, T]]:
    @like(operation)
    async def call(self: AsyncCaller, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._connection.send(operation(*args, **kwargs))

    return call


def pages(operation: Callable[P, Listing[T]]) -> Callable[Concatenate[AsyncCaller, P], AsyncIterator[T]]:
    """Every item of a list, page by page as they are asked for."""

    @like(operation, AsyncIterator)
    async def call(self: AsyncCaller, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        listing = operation(*args, **kwargs)
        request: Request[Page[T]] | None = listing.first()
        while request is not None:
            page = await self._connection.send(request)
            for item in page.items:
                yield item
            request = listing.next(page)

    return call


def stream(operation: Callable[P, Following]) -> Callable[Concatenate[AsyncCaller, P], AsyncEventStream]:
    @like(operation, AsyncEventStream)
    def call(self: AsyncCaller, /, *args: P.args, **kwargs: P.kwargs) -> AsyncEventStream:
        return AsyncEventStream(self._connection.events, operation(*args, **kwargs))

    return call
