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


class Credentials:
    """Whom we act as: what to do about its tokens, while sending and waiting are left to the kind of client."""

    def __init__(self, base: str, token: str | None) -> None:
        self.tokens = Tokens(token) if token else None
        self._token_url = f"{base}/auth/token"

    def stale(self) -> Tokens | None:
        """The tokens, if they should be renewed before they are used."""
        return self.tokens if self.tokens is not None and self.tokens.is_stale else None

    def authorize(self, request: httpx2.Request) -> Tokens | None:
        """Add the token to the request, and return what was added."""
        tokens = self.tokens
        if tokens is not None:
            request.headers["Authorization"] = f"Bearer {tokens.access}"
        return tokens

    def rejected(self, response: httpx2.Response, used: Tokens | None) -> Tokens | None:
        """The tokens used, if the server says that they have run out and they can be renewed."""
        is_rejected = response.status_code == httpx2.codes.UNAUTHORIZED
        return used if is_rejected and used is not None and used.refresh is not None else None

    def renewal(self, used: Tokens) -> httpx2.Request | None:
        """The request that trades the refresh token; None if somebody has meanwhile, or there is none."""
        if self.tokens is not used or used.refresh is None:
            return None
        form = {"grant_type": "refresh_token", "refresh_token": used.refresh}
        return httpx2.Request("POST", self._token_url, data=form)

    def renewed(self, used: Tokens, response: httpx2.Response) -> None:
        """Take up what the refresh token was traded for, unless we act as somebody else by now."""
        check(response)
        granted = Tokens.granted(json_object(response))
        if self.tokens is used:
            self.tokens = granted


class TokenAuth(httpx2.Auth):
    """Adds the token to each request and refreshes it before it runs out, or when the server says that it has.

    A refresh token is good once and using it twice ends the session, so only one thread at a time refreshes.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._refreshing = threading.Lock()

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        stale = self._credentials.stale()
        if stale is not None:
            yield from self._renew(stale)
        used = self._credentials.authorize(request)
        response = yield request
        rejected = self._credentials.rejected(response, used)
        if rejected is not None:
            response.read()
            yield from self._renew(rejected)
            self._credentials.authorize(request)
            yield request

    def _renew(self, used: Tokens) -> Generator[httpx2.Request, httpx2.Response, None]:
        with self._refreshing:
            renewal = self._credentials.renewal(used)
            if renewal is not None:
                response = yield renewal
                response.read()
                self._credentials.renewed(used, response)
