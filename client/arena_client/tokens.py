"""The access token: given once, or a session's, refreshed when it runs out."""

import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import httpx2

from arena_client.wire import check, json_object

MARGIN_SECONDS = 30.0
LARGEST_MARGIN_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Tokens:
    """A token and, for a session, what renews it; `stale_at` is on the monotonic clock."""

    access: str
    refresh: str | None = None
    stale_at: float | None = None

    @classmethod
    def granted(cls, body: dict[str, Any]) -> "Tokens":
        """From the answer of `POST /auth/token`."""
        life = float(body["expires_in"])
        margin = min(MARGIN_SECONDS, life * LARGEST_MARGIN_SHARE)
        return cls(body["access_token"], body["refresh_token"], time.monotonic() + life - margin)

    @property
    def is_stale(self) -> bool:
        return self.stale_at is not None and time.monotonic() >= self.stale_at


class TokenAuth(httpx2.Auth):
    """Adds the token to each request and refreshes it before it runs out, or when the server says that it has.

    A refresh token is good once and using it twice ends the session, so only one thread at a time refreshes.
    """

    def __init__(self, token_url: str, token: str | None) -> None:
        self._token_url = token_url
        self._refreshing = threading.Lock()
        self.tokens = Tokens(token) if token else None

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        tokens = self.tokens
        if tokens is not None and tokens.is_stale:
            yield from self._refresh(tokens)
        used = self._authorize(request)
        response = yield request
        if response.status_code == httpx2.codes.UNAUTHORIZED and used is not None and used.refresh is not None:
            response.read()
            yield from self._refresh(used)
            self._authorize(request)
            yield request

    def _authorize(self, request: httpx2.Request) -> Tokens | None:
        tokens = self.tokens
        if tokens is not None:
            request.headers["Authorization"] = f"Bearer {tokens.access}"
        return tokens

    def _refresh(self, used: Tokens) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Trade the refresh token, unless another thread has meanwhile."""
        with self._refreshing:
            if self.tokens is not used or used.refresh is None:
                return
            form = {"grant_type": "refresh_token", "refresh_token": used.refresh}
            response = yield httpx2.Request("POST", self._token_url, data=form)
            response.read()
            check(response)
            self.tokens = Tokens.granted(json_object(response))
