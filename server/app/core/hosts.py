"""The host that a request is for (RFC 9110, section 7.2): ours, or it is answered 421.

A page whose own name is made to lead to this machine (DNS rebinding) is of one origin with the API for the browser,
which lets it read every answer and open sockets; only the name, which the browser sends along, tells it apart.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.error_handlers import problem
from app.core.headers import header_of

UNCHECKED = frozenset({"/healthz", "/readyz"})
"""Probes call a machine by its address, and learn nothing but that it lives."""
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{0,5})?")


class Hosts:
    """Pure ASGI: turns away what is for another host. This machine's own names are always ours."""

    def __init__(self, app: ASGIApp, ours: Iterable[str]) -> None:
        self._app = app
        self._ours = frozenset(map(_plain, ours))
        self._is_ours = lru_cache(256)(self._judge)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in UNCHECKED or self._is_ours(header_of(scope, b"host")):
            await self._app(scope, receive, send)
            return
        sentence = "this server does not go by the name in the Host header; see ARENA_ALLOWED_HOSTS"
        await problem(421, "wrong_host", sentence)(scope, receive, send)

    def _judge(self, host: bytes) -> bool:
        parts = _HOST.fullmatch(host)
        if parts is None:
            return False
        name = _plain(parts[1].decode())
        return name in self._ours or is_this_machine(name)


def is_this_machine(name: str) -> bool:
    """Whether it is a name or an address that no browser looks up anywhere else (RFC 6761, section 6.3)."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _plain(name: str) -> str:
    return name.strip("[]").removesuffix(".").lower()
