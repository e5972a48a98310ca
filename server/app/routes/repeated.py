"""Reads that come again and again: an address that FastAPI has read once is not read again.

Reading an address (finding its route, matching parameters to types, solving dependencies) costs more than what these
routes then do. What it comes to depends on nothing but the address, and is remembered; who asks, and what they may, is
looked at each time.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache
from fastapi import Request, Response
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.error_handlers import answer_to
from app.core.errors import ArenaError
from app.dependencies import Require, Services, declared_by, services_of
from app.services.callers import Actor

MOST_ADDRESSES, MOST_QUERY_BYTES = 10_000, 300
_GIVE = "arena.give"

Give = Callable[[Services, Actor], Awaitable[Response]]
_Address = tuple[str, bytes]


def repeat_with(request: Request, give: Give) -> None:
    """From now on, answer requests for this address with what `give` returns for their caller.

    The route must `Require` a permission, which callers are asked for again.
    """
    request.scope[_GIVE] = give


@dataclass(frozen=True, slots=True)
class _Read:
    """What an address comes to."""

    give: Give
    require: Require
    found: dict[str, Any]
    """What the router puts into the scope."""


class RepeatedReads:
    """Pure ASGI, around the routes: answers what a route has said `repeat_with` of."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._known: LRUCache[_Address, _Read] = LRUCache(MOST_ADDRESSES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        address = scope["path"], scope["query_string"]
        read = self._known.get(address)
        if read is not None:
            response = await _repeat(read, scope)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)
        if _GIVE in scope and len(scope["query_string"]) <= MOST_QUERY_BYTES:
            self._known[address] = _read(scope)


async def _repeat(read: _Read, scope: Scope) -> Response:
    connection = HTTPConnection(scope)
    scope.update(read.found)
    try:
        actor = await read.require(connection)
        return await read.give(services_of(connection), actor)
    except ArenaError as error:
        return answer_to(error)


def _read(scope: Scope) -> _Read:
    require = declared_by(scope["route"].dependant)
    assert isinstance(require, Require)
    found = {"route": scope["route"], "path_params": scope["path_params"]}
    return _Read(scope.pop(_GIVE), require, found)
