"""`Idempotency-Key` on every POST that creates: a route class, so that no route has to think of it."""

import re
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID, uuid5

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.core.errors import ArenaError, Invalid, Unavailable
from app.core.multipart import BadForm, boundary_of, is_form
from app.dependencies import bearer_of, declared_by, services_of
from app.services.idempotency import KeptAnswer

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
CREATED = frozenset({201, 202})
NOBODY = UUID(int=0)
"""Whose keys those of requests without a caller are, such as a registration."""
KEPT_HEADERS = ("content-type", "location", "etag", "cache-control")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class BadIdempotencyKey(Invalid):
    """The header holds no key."""

    code = "bad_idempotency_key"
    where = ("header", "idempotency-key")


class CreatingRoute(APIRoute):
    """Does a POST that creates once for each key; other requests are not touched."""

    @property
    def creates(self) -> bool:
        return self.methods == {"POST"} and self.status_code in CREATED

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if not self.creates:
            return handle

        async def handle_once(request: Request) -> Response:
            key = request.headers.get(HEADER)
            if key is None:
                return await handle(request)
            if not _KEY.fullmatch(key):
                raise BadIdempotencyKey(f"{HEADER} must be 1 to 255 printable ASCII characters without blanks")
            owner_id = await self._owner_of(request)
            return await _once(request, owner_id, key, handle) if owner_id is not None else await handle(request)

        return handle_once

    async def _owner_of(self, request: Request) -> UUID | None:
        """Who calls, if they may still do this; None if not, which the route itself will say."""
        token = bearer_of(request)
        declared = declared_by(self.dependant)
        if token is None:
            # Each address has a space of its own: two who know nothing of each other may choose the same key.
            return uuid5(NOBODY, request.url.path) if declared is None or declared.takes_nobody else None
        try:
            user = await services_of(request).callers.identify(token)
            if declared is not None:
                declared.check(await declared.caller_of(request, user))
        except Unavailable:
            raise
        except ArenaError:
            return None
        return user.user.id


def _content_of(content_type: str, body: bytes) -> bytes:
    """The body, without what separates the parts of a form: who sends it again draws another boundary."""
    if not is_form(content_type):
        return body
    try:
        return body.replace(boundary_of(content_type), b"")
    except BadForm:
        return body  # the route will say so


async def _once(
    request: Request, owner_id: UUID, key: str, handle: Callable[[Request], Coroutine[Any, Any, Response]]
) -> Response:
    requests = services_of(request).idempotency
    begun = await requests.begin(
        owner_id,
        key,
        request.url.path.encode(),
        request.url.query.encode(),
        request.headers.get("x-workspace-id", "").lower().encode(),
        _content_of(request.headers.get("content-type", ""), await request.body()),
    )
    if isinstance(begun, KeptAnswer):
        return Response(begun.body, begun.status, {**begun.headers, REPLAYED: "true"})
    async with requests.doing(begun) as joint:
        response = await handle(request)
        headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        await requests.keep(joint, begun, KeptAnswer(response.status_code, headers, bytes(response.body)))
    return response
