"""Entity tags (RFC 9110, 8.8.3) on every JSON answer to a GET, and 304 for whoever holds what would be sent.

Where a route sets none, the tag is a hash of the body: the work of reading was done, but nothing is sent twice, and no
route can forget it. Routes that know earlier whether anything has changed answer with 304 before they read.
"""

from hashlib import blake2b

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.headers import header_of
from app.core.requests import PREFIX

_JSON = b"application/json"
_OF_A_BODY = frozenset({b"content-length", b"content-type"})
_STORED_NOWHERE = (b"cache-control", b"no-store")
# What is about a person, on machines that several use.
_PERSONAL = (f"{PREFIX}/auth/", f"{PREFIX}/admin/")


def tag_of(body: bytes) -> str:
    """A strong tag of these very bytes."""
    return f'"{blake2b(body, digest_size=16).hexdigest()}"'


def is_held(if_none_match: str, current: str) -> bool:
    """Whether the caller already has this representation (RFC 9110, 13.1.2: weak comparison)."""
    held = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return current in held or "*" in held


class EntityTags:
    """Pure ASGI. Answers that come in pieces (streams, downloads) and what is not JSON go through as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"].startswith(PREFIX):
            send = _Tagging(scope, send)
        await self._app(scope, receive, send)


class _Tagging:
    """A `send` that holds the head of an answer back until its body is there."""

    __slots__ = ("_head", "_scope", "_send")

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._head: Message | None = None

    async def __call__(self, message: Message) -> None:
        head, self._head = self._head, None
        if head is None and message["type"] == "http.response.start" and _is_found_json(message):
            self._head = message
        elif head is None:
            await self._send(message)
        elif message.get("more_body", False):
            await self._send(head)
            await self._send(message)
        else:
            await self._answer(head, message)

    async def _answer(self, head: Message, message: Message) -> None:
        headers = list(head["headers"])
        given = dict(headers)
        tag = given[b"etag"].decode() if b"etag" in given else tag_of(message.get("body", b""))
        if b"etag" not in given:
            headers.append((b"etag", tag.encode()))
        if b"cache-control" not in given and self._scope["path"].startswith(_PERSONAL):
            headers.append(_STORED_NOWHERE)
        held = header_of(self._scope, b"if-none-match")
        if held and is_held(held.decode("latin-1"), tag):
            kept = [header for header in headers if header[0] not in _OF_A_BODY]
            await self._send({**head, "status": 304, "headers": kept})
            await self._send({"type": "http.response.body", "body": b""})
            return
        await self._send({**head, "headers": headers})
        await self._send(message)


def _is_found_json(head: Message) -> bool:
    return head["status"] == 200 and any(
        name == b"content-type" and value.startswith(_JSON) for name, value in head["headers"]
    )
