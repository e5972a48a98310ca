"""Reads that come again and again: an address that FastAPI has read once is not read again.

Reading an address (matching parameters to types, solving dependencies) costs more than what these routes then do. What
it comes to depends on nothing but the address, and is remembered; who asks, and what they may, is looked at each time.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from uuid import UUID

from cachetools import LRUCache
from fastapi import Request, Response

from app.dependencies import Require, Services, declared_by, services_of, workspace_of
from app.routes.idempotent import CreatingRoute
from app.services.callers import Actor

MOST_ADDRESSES, MOST_QUERY_BYTES = 10_000, 300

Give = Callable[[Services, Actor], Awaitable[Response]]
_Address = tuple[str, bytes, str | None]


def repeat_with(request: Request, give: Give) -> None:
    """From now on, answer requests for this address with what `give` returns for their caller."""
    request.state.give = give


class RepeatedRoute(CreatingRoute):
    """A route of which a GET, which must `Require` a permission, may say `repeat_with`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        require = declared_by(self.dependant)
        if self.methods != {"GET"} or not isinstance(require, Require):
            return handle
        known: LRUCache[_Address, tuple[Give, UUID | None]] = LRUCache(MOST_ADDRESSES)

        async def handle_again(request: Request) -> Response:
            workspace = request.headers.get("x-workspace-id")
            address = request.scope["path"], request.scope["query_string"], workspace
            read = known.get(address)
            if read is not None:
                give, workspace_id = read
                return await give(services_of(request), await require(request, workspace_id))
            response = await handle(request)
            told: Give | None = getattr(request.state, "give", None)
            if told is not None and len(address[1]) <= MOST_QUERY_BYTES:
                known[address] = told, workspace_of(request)
            return response

        return handle_again
