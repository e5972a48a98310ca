"""Request bodies: read whole before anything is done about them, within bounds of size, of memory and of shape.

So a client that sends slowly holds nothing but its own connection: no place among the requests that are worked on, and
no connection to the database. How slowly it may send is the business of `core/door.py`.
"""

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.error_handlers import problem
from app.core.headers import header_of
from app.core.multipart import is_form

log = structlog.stdlib.get_logger(__name__)

DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 10.0
HELD_BYTES = 256 * 1024 * 1024
"""Of all bodies together that are being read or worked on."""
BODY = "arena.body"
"""Where the scope holds it, whole."""
MOST_VALUES = 50_000
"""Of one JSON body: far more than any request has, and few enough to be parsed without holding up others."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class Bodies:
    """Pure ASGI: gives inner layers a body that is whole, or answers 413, 422 or 503 itself.

    `larger` gives paths that match a limit other than `default_bytes`. Most clients send the whole body before they
    look for an answer, and see nothing but a broken connection if it is closed earlier: so what they send is read and
    dropped before a refusal, up to `DRAIN_BYTES`.
    """

    def __init__(
        self, app: ASGIApp, default_bytes: int, larger: Sequence[tuple[re.Pattern[str], int]], max_depth: int
    ) -> None:
        self._app = app
        self._default_bytes = default_bytes
        self._larger = larger
        self._max_depth = max_depth
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = _declared_bytes(scope) if scope["type"] == "http" else 0
        if declared == 0:
            await self._app(scope, receive, send)
            return
        limit = self._limit(scope["path"])
        reader = _Reader(receive, self)
        try:
            body = await reader.read(limit) if declared <= limit else None
            if body is None:
                await reader.drain()
                answer = problem(413, "body_too_large", f"the request body is over the limit of {limit} bytes")
            elif reader.has_left:
                answer = problem(400, "client_left", "the client left before the request was whole")
            elif self._held_bytes > HELD_BYTES:
                await reader.drain()
                detail = "too many requests are being read; try again shortly"
                answer = problem(503, "overloaded", detail, headers={"Retry-After": "1"})
            elif not is_form(header_of(scope, b"content-type").decode("latin-1")) and (
                reason := fault_of(body, self._max_depth)
            ):
                fault = {"loc": ["body"], "msg": reason, "type": "json_too_complex"}
                answer = problem(422, "json_too_complex", f"body: {reason}", faults=[fault])
            else:
                scope[BODY] = body
                await self._app(scope, _Replay(body, receive), send)
                return
            await answer(scope, receive, send)
        finally:
            self._held_bytes -= reader.held_bytes

    def hold(self, size: int) -> bool:
        """Count it to what is held; False if that is too much."""
        self._held_bytes += size
        return self._held_bytes <= HELD_BYTES

    def _limit(self, path: str) -> int:
        return next((size for pattern, size in self._larger if pattern.fullmatch(path)), self._default_bytes)


def _declared_bytes(scope: Scope) -> int:
    """How long the body says it is: 0 without one, 1 where it does not say."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
        if name == b"transfer-encoding":
            return 1
    return 0


class _Reader:
    """Reads a body, or reads it away."""

    def __init__(self, receive: Receive, bodies: Bodies) -> None:
        self._receive = receive
        self._bodies = bodies
        self._is_done = False
        self.has_left = False
        self.held_bytes = 0

    async def read(self, limit: int) -> bytes | None:
        """The body, or as much of it as there is room for; None once it is over the limit."""
        parts: list[bytes] = []
        while not self._is_done:
            part = await self._next()
            parts.append(part)
            self.held_bytes += len(part)
            if not self._bodies.hold(len(part)):
                break
            if self.held_bytes > limit:
                return None
        return b"".join(parts)

    async def drain(self) -> None:
        """Read and drop the rest."""
        dropped = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self._is_done and dropped < DRAIN_BYTES:
                    dropped += len(await self._next())

    async def _next(self) -> bytes:
        message = await self._receive()
        self.has_left = message["type"] != "http.request"
        self._is_done = self.has_left or not message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part


class _Replay:
    """A `receive` that gives the body at once, and then what else comes: that the client has left."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def fault_of(body: bytes, max_depth: int) -> str | None:
    """Why a parser should not be given it, if it is JSON; takes time in proportion to its length, and no stack.

    A parser that recurses would run out of stack on what is nested deeply, and whoever writes it out again as well.
    """
    if body.count(b"[") + body.count(b"{") <= max_depth and body.count(b",") < MOST_VALUES:
        return None
    shape = _STRING.sub(b"", body)
    if shape.count(b",") + shape.count(b"[") + shape.count(b"{") > MOST_VALUES:
        return f"there are more than {MOST_VALUES} values in it"
    depth = 0
    for bracket in shape.translate(None, _ALL_BUT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > max_depth:
            return f"it is nested deeper than {max_depth} levels"
    return None
