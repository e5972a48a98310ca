"""ASGI guards inside the request monitor: what they answer has a request id and a log line."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.error_handlers import problem

log = structlog.stdlib.get_logger(__name__)

DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 10.0


class UnexpectedErrors:
    """Anything that is no expected error is a 500 without detail, and an alert in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def send_noting(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        except Exception:
            log.exception("unexpected_error")
            if has_begun:
                raise
            sentence = "something went wrong here; the request id finds it in the logs"
            await problem(500, "internal_error", sentence)(scope, receive, send)


class BodyLimit:
    """Refuse a request whose Content-Length is over its limit, and let every 413 be read.

    `by_suffix` gives paths that end so a limit other than `default_bytes`. Bodies that do not declare their length
    are counted by the framework while they are read. Most clients send the whole body before they look for an
    answer, and see nothing but a broken connection if it is closed earlier: so what they send is read and dropped
    first, up to `DRAIN_BYTES`.
    """

    def __init__(self, app: ASGIApp, default_bytes: int, by_suffix: Mapping[str, int]) -> None:
        self._app = app
        self._default_bytes = default_bytes
        self._by_suffix = by_suffix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        drained = _Drained(receive)

        async def send_after_draining(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 413:
                await drained.drain()
            await send(message)

        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        limit = self._limit(scope["path"])
        if declared.isdigit() and int(declared) <= limit:
            await self._app(scope, drained, send_after_draining)
        else:
            answer = problem(413, "body_too_large", f"the request body is over the limit of {limit} bytes")
            await answer(scope, drained, send_after_draining)

    def _limit(self, path: str) -> int:
        return next((size for suffix, size in self._by_suffix.items() if path.endswith(suffix)), self._default_bytes)


class _Drained:
    """A `receive` that can read and drop what is left of the body."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_done = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self._is_done = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        dropped = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self._is_done and dropped < DRAIN_BYTES:
                    dropped += len((await self()).get("body", b""))
