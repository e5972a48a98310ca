"""The blocking transport: one pool of connections, one token."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from arena_client.request import Request, T
from arena_client.tokens import Credentials, TokenAuth
from arena_client.transport import client_options, request_options, silence_told, stream_options
from arena_client.wire import api_url, check


class Connection:
    """Sends requests of the contract; raises `ArenaProblem` for refusals and `ArenaUnreachable` for silence."""

    def __init__(self, base_url: str, token: str | None, workspace_id: str | None) -> None:
        self._base = api_url(base_url)
        self.credentials = Credentials(self._base, token)
        self._http = httpx2.Client(auth=TokenAuth(self.credentials), **client_options(self._base, workspace_id))

    def send(self, request: Request[T]) -> T:
        with silence_told(self._base):
            response = self._http.request(**request_options(self._base, request))
        check(response)
        return request.read(response)

    @contextmanager
    def events(self, where: str, last_id: str | None) -> Iterator[httpx2.Response]:
        """An open stream of events behind `last_id`; raises `ArenaProblem` or httpx2's `TransportError`."""
        with self._http.stream(**stream_options(self._base, where, last_id)) as response:
            if not response.is_success:
                response.read()
                check(response)
            yield response

    def close(self) -> None:
        self._http.close()
