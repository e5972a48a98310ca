"""What both transports share: addresses, timeouts, headers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from arena_client.errors import ArenaUnreachable
from arena_client.request import Request, T
from arena_client.wire import is_loopback, without_none

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
SILENCE_SECONDS = 45.0  # three of the server's heartbeats


def client_options(base: str, workspace_id: str | None) -> dict[str, Any]:
    return {
        "headers": without_none(**{"User-Agent": "arena-client", "X-Workspace-ID": workspace_id}),
        "timeout": httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        # Each open stream holds a connection: with a limit, some more of them would leave none for a request.
        "limits": httpx2.Limits(max_connections=None, max_keepalive_connections=20),
        "trust_env": not is_loopback(base),  # a proxy of the environment cannot know our loopback
    }


def request_options(base: str, request: Request[T]) -> dict[str, Any]:
    options: dict[str, Any] = {
        "method": request.method,
        "url": f"{base}{request.where}",
        "params": request.query,
        "headers": request.headers,
        "json": request.json,
        "data": request.form,
        "files": request.files,
    }
    return options | ({"auth": None} if request.is_anonymous else {})


def stream_options(base: str, where: str, last_id: str | None) -> dict[str, Any]:
    return {
        "method": "GET",
        "url": f"{base}{where}",
        "headers": {"Accept": "text/event-stream"} | without_none(**{"Last-Event-ID": last_id}),
        "timeout": httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
    }


@contextmanager
def silence_told(base: str) -> Iterator[None]:
    """Raise `ArenaUnreachable` where no answer comes."""
    try:
        yield
    except (httpx2.RequestError, httpx2.InvalidURL) as error:
        raise ArenaUnreachable(f"no answer from {base}: {error or type(error).__name__}") from error
