"""The HTTP client that the SDKs are given."""

from contextvars import ContextVar

import httpx2

from app.core.guarded_transport import GuardedTransport
from app.services.providers.pydantic_ai import Connection

MOST_BYTES = 32 * 1024 * 1024
"""Of one answer as it is sent, with all that a protocol wraps its text in."""

opened: ContextVar[list[httpx2.Response] | None] = ContextVar("opened", default=None)
"""The answers of the call under way. Not every SDK closes them when it is told to stop, so we do."""


class _NotingTransport(GuardedTransport):
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        answers = opened.get()
        if answers is not None:
            answers.append(response)
        return response


def http_client(connection: Connection) -> httpx2.AsyncClient:
    """Guarded as the connection is. Only connecting is timed here: a model may be silent as long as our port allows."""
    timeouts = connection.timeouts
    return httpx2.AsyncClient(
        transport=_NotingTransport(connection.guard, most_bytes=MOST_BYTES),
        timeout=httpx2.Timeout(timeouts.total_seconds + 1, connect=timeouts.connect_seconds),
        follow_redirects=False,
        trust_env=False,
    )
