"""The blocking transport: one pool of connections, one token."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2

from arena_client.errors import ArenaUnreachable
from arena_client.tokens import TokenAuth, Tokens
from arena_client.wire import api_url, check, is_loopback, json_object, without_none

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
SILENCE_SECONDS = 45.0  # three of the server's heartbeats


class Connection:
    """Sends requests of the contract; raises `ArenaProblem` for refusals and `ArenaUnreachable` for silence."""

    def __init__(self, base_url: str, token: str | None, workspace_id: str | None) -> None:
        self._base = api_url(base_url)
        self._auth = TokenAuth(f"{self._base}/auth/token", token)
        self._http = httpx2.Client(
            auth=self._auth,
            headers=without_none(**{"User-Agent": "arena-client", "X-Workspace-ID": workspace_id}),
            timeout=httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            trust_env=not is_loopback(self._base),  # a proxy of the environment cannot know our loopback
        )

    def get(self, where: str, **query: Any) -> dict[str, Any]:
        return json_object(self._send("GET", where, params=without_none(**query)))

    def text(self, where: str, **query: Any) -> str:
        return self._send("GET", where, params=without_none(**query)).text

    def post(self, where: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        return json_object(self._send("POST", where, json=body))

    def patch(self, where: str, body: Mapping[str, Any], version: int | None) -> dict[str, Any]:
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        return json_object(self._send("PATCH", where, json=body, headers=headers))

    def delete(self, where: str) -> None:
        self._send("DELETE", where)

    def log_in(self, email: str, password: str) -> None:
        """Trade a password for tokens, used from now on."""
        form = {"grant_type": "password", "username": email, "password": password}
        self._auth.tokens = Tokens.granted(json_object(self._send("POST", "/auth/token", data=form, auth=None)))

    @contextmanager
    def events(self, where: str, last_id: str | None) -> Iterator[httpx2.Response]:
        """An open stream of events behind `last_id`; raises `ArenaProblem` or httpx2's `TransportError`."""
        headers = {"Accept": "text/event-stream"} | without_none(**{"Last-Event-ID": last_id})
        timeout = httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        with self._http.stream("GET", f"{self._base}{where}", headers=headers, timeout=timeout) as response:
            if not response.is_success:
                response.read()
                check(response)
            yield response

    def close(self) -> None:
        self._http.close()

    def _send(self, method: str, where: str, **options: Any) -> httpx2.Response:
        try:
            response = self._http.request(method, f"{self._base}{where}", **options)
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            raise ArenaUnreachable(f"no answer from {self._base}: {error or type(error).__name__}") from error
        check(response)
        return response
