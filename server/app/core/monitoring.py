"""One log line per request, and the request id that ties lines and problems together."""

import re
from collections.abc import Callable
from secrets import token_hex
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.headers import header_of
from app.core.logging import log_request
from app.core.request_context import Origin, current_origin, set_origin
from app.core.security_headers import Headers, headers_for

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
# Whatever else stands in an id's place of an address may be a secret.
_ID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
PLAIN_SEND = "arena.send"
"""Where the scope holds the server's own `send`: each layer around it costs a stream as much as a frame's encoding.

Only for what lies between a response's start and its end, which no layer looks at.
"""
ADDED_HEADERS = "arena.headers"
"""Where the scope holds headers that inner layers want on the answer, whatever it will be: none wraps `send` for it."""
HAS_BEGUN = "arena.has_begun"
"""Where the scope holds whether the answer's head has been sent."""
ON_BEGIN = "arena.on_begin"
"""Where the scope holds what is called with the message by which the answer begins."""
IS_SHED = "arena.is_shed"
"""Where the scope holds that a request was turned away unseen: lines of those would be work, and are summed up."""
SWITCHING_PROTOCOLS = 101
_BEGINNINGS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
# `user_id` is who asks (`name_caller`).
_TOLD_AS = {"user_id": "target_user_id"}
_QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


def current_request_id() -> str:
    """The id of the request being answered, `-` outside of one."""
    return current_origin().request_id or "-"


class RequestMonitor:
    """Pure ASGI: takes or makes `X-Request-ID`, returns it, and logs method, route, status and duration.

    It is also where every answer gets the headers that all have (`core/security_headers.py`).

    Of a WebSocket the status is the code with which we closed it, 101 if the client left.
    A caller's id is kept only if it is 1 to 128 harmless characters, since it goes into logs.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        given = header_of(scope, b"x-request-id")
        request_id = given.decode() if _REQUEST_ID.fullmatch(given) else token_hex(16)
        set_origin(Origin(_address_of(scope), request_id))
        scope[PLAIN_SEND] = send
        added: Headers = [(b"x-request-id", request_id.encode())]
        on_begin: list[Callable[[Message], None]] = []
        scope[ADDED_HEADERS], scope[HAS_BEGUN], scope[ON_BEGIN] = added, False, on_begin
        began = perf_counter()
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            kind = message["type"]
            if kind in _BEGINNINGS:
                status = message.get("status", SWITCHING_PROTOCOLS)
                given = list(message.get("headers", ()))
                if kind != "websocket.accept":
                    given += headers_for(scope["scheme"], given)
                message["headers"] = given + added
                scope[HAS_BEGUN] = True
                for call in on_begin:
                    call(message)
            elif kind == "websocket.close":
                status = message["code"]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            # It leads back to the scope: left there, each request would stay until a collection of cycles stops all.
            del scope[PLAIN_SEND]
            if scope["path"] not in _QUIET_PATHS and IS_SHED not in scope:
                _log_request(scope, status, perf_counter() - began)


def _address_of(scope: Scope) -> str | None:
    client = scope.get("client")
    return str(client[0]) if client else None


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    parameters = scope.get("path_params") or {}
    event = {
        "method": scope.get("method", "WEBSOCKET"),
        "route": getattr(scope.get("route"), "path", "unmatched"),
        "status": status,
        "duration_ms": round(seconds * 1000, 2),
        **{
            _TOLD_AS.get(name, name): value
            for name, value in parameters.items()
            if name.endswith("_id") and _ID.fullmatch(value)
        },
    }
    log_request("error" if 500 <= status < 600 else "info", event)
