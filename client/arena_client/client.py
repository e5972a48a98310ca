"""The blocking client."""

from types import TracebackType
from typing import Self

from arena_client.connection import Connection
from arena_client.methods import Caller, method, stream
from arena_client.operations import accounts, streams
from arena_client.resources import Agents, Discussions, Knowledge


class ArenaClient(Caller):
    """A server of Discussion Arena, as seen by one caller. Its methods may be called from several threads.

    `token` is an access token or an API key; `login` gets tokens that then renew themselves. Without `workspace_id`
    everything happens in the caller's personal workspace.
    """

    def __init__(self, base_url: str, token: str | None = None, *, workspace_id: str | None = None) -> None:
        super().__init__(Connection(base_url, token, workspace_id))
        self.agents = Agents(self._connection)
        self.knowledge = Knowledge(self._connection)
        self.discussions = Discussions(self._connection)

    register = method(accounts.register)
    me = method(accounts.me)
    notifications = stream(streams.notifications)

    def login(self, email: str, password: str) -> None:
        """Act as this account from now on."""
        self._connection.credentials.tokens = self._connection.send(accounts.login(email, password))

    def logout(self) -> None:
        """End the session, its streams and sockets too, and forget its tokens."""
        self._connection.send(accounts.logout())
        self._connection.credentials.tokens = None

    def close(self) -> None:
        """Release the connections; streams of events are closed on their own."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
