"""Amazon Bedrock's Converse API.

botocore speaks HTTP itself and waits on threads. So the guard is built into its connections, and a call that is given
up before its reply began has its sockets shut down, which wakes the thread that waits on them.
"""

import asyncio
import re
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from contextvars import ContextVar
from typing import Any

import botocore.session
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.config import Config
from botocore.httpsession import URLLib3Session
from botocore.loaders import create_loader
from botocore.tokens import FrozenAuthToken
from pydantic_ai.models.bedrock import BedrockConverseModel
from pydantic_ai.providers.bedrock import BedrockProvider
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from app.core.address_guard import AddressGuard
from app.services.providers.base import ChatRequest, Finished
from app.services.providers.pydantic_ai import Connection, Sdk
from app.services.providers.sdks.exchange import SdkCalls

MOST_CONNECTIONS = 40
_LOADER = create_loader()
"""What AWS's services look like: read once, which takes a second."""
_REGION = re.compile(r"\.([a-z]{2}(?:-[a-z]+)+-\d)\.")
_DEFAULT_REGION = "us-east-1"


class _Call:
    """The sockets of a call that its reply is waited for on."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self._is_given_up = False

    def waits_on(self, one: socket.socket) -> None:
        self._sockets.append(one)
        if self._is_given_up:
            self.give_up()

    def give_up(self) -> None:
        self._is_given_up = True
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


_call: ContextVar[_Call | None] = ContextVar("bedrock_call", default=None)
"""Set where a call begins; anyio takes it to the thread that botocore runs on."""


class _Way:
    """Whereto connections may go, for threads: the guard lives in an event loop."""

    def __init__(self, guard: AddressGuard | None) -> None:
        self._guard = guard
        self.loop: asyncio.AbstractEventLoop | None = None

    def addresses(self, host: str, port: int, seconds: float) -> list[str]:
        if self._guard is None:
            return [host]
        assert self.loop is not None
        found = asyncio.run_coroutine_threadsafe(self._guard.addresses(host, port), self.loop)
        try:
            return found.result(seconds)
        finally:
            found.cancel()


class _GuardedConnection(HTTPConnection):
    """Connects to what the guard lets through; the name stays what TLS and the request speak of."""

    way: _Way
    connect_seconds: float

    def _new_conn(self) -> socket.socket:
        name = self._dns_host
        try:
            addresses = self.way.addresses(name, self.port or 0, self.connect_seconds)
            for place, self._dns_host in enumerate(addresses, 1):
                try:
                    return super()._new_conn()
                except NewConnectionError:
                    if place == len(addresses):
                        raise
        except TimeoutError as late:
            raise ConnectTimeoutError(self, f"{name} was not found in time") from late
        finally:
            self._dns_host = name
        raise NewConnectionError(self, f"{name} leads nowhere")

    def request(self, *arguments: Any, **options: Any) -> None:
        super().request(*arguments, **options)
        call = _call.get()
        if call is not None and self.sock is not None:
            call.waits_on(self.sock)


class _Session(URLLib3Session):  # type: ignore[misc]  # botocore has no types
    """botocore's HTTP, guarded; no proxy is asked."""

    def __init__(self, way: _Way, connect_seconds: float, read_seconds: float) -> None:
        super().__init__(timeout=(connect_seconds, read_seconds), max_pool_connections=MOST_CONNECTIONS, proxies={})
        given = {"way": way, "connect_seconds": connect_seconds}
        plain = type("_Plain", (_GuardedConnection, AWSHTTPConnection), given)
        encrypted = type("_Encrypted", (_GuardedConnection, AWSHTTPSConnection), given)
        self._manager.pool_classes_by_scheme = {
            "http": type("_PlainPool", (AWSHTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("_EncryptedPool", (AWSHTTPSConnectionPool,), {"ConnectionCls": encrypted}),
        }


class _BearerSession(botocore.session.Session):  # type: ignore[misc]  # botocore has no types
    """Signs with a Bedrock API key alone."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key

    def get_auth_token(self, **_: Any) -> FrozenAuthToken:
        return FrozenAuthToken(self._key)

    def get_credentials(self) -> None:
        return None


class BedrockCalls(SdkCalls):
    """The calls; one that is given up leaves no thread behind that waits for its reply."""

    def __init__(self, connection: Connection, way: _Way, client: Any) -> None:
        provider = BedrockProvider(bedrock_client=client)
        super().__init__(connection, lambda name: BedrockConverseModel(name, provider=provider), self._shut)
        self._way = way
        self._client = client

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | Finished, None]:
        self._way.loop = asyncio.get_running_loop()
        call = _Call()
        _call.set(call)
        has_ended = False
        try:
            async with aclosing(super().stream(request)) as items:
                async for item in items:
                    has_ended = isinstance(item, Finished)
                    yield item
        finally:
            if not has_ended:
                call.give_up()

    async def _shut(self) -> None:
        await asyncio.to_thread(self._client.close)


def connect(connection: Connection) -> Sdk:
    timeouts, way = connection.timeouts, _Way(connection.guard)
    read_seconds = max(timeouts.first_token_seconds, timeouts.idle_seconds) + 1  # ours end before
    client = _client(connection)
    client._endpoint.http_session = _Session(way, timeouts.connect_seconds, read_seconds)
    return BedrockCalls(connection, way, client)


def _client(connection: Connection) -> Any:
    """A client that signs with the connection's key, whatever the environment and the machine's AWS profile say."""
    access_key, colon, rest = connection.api_key.partition(":")
    secret, _, token = rest.partition(":")
    region = _REGION.search(connection.host)
    session = botocore.session.Session() if colon else _BearerSession(connection.api_key)
    session.register_component("data_loader", _LOADER)
    if colon:
        session.set_credentials(access_key, secret, token or None)
    return session.create_client(
        "bedrock-runtime",
        region_name=region[1] if region else _DEFAULT_REGION,
        endpoint_url=connection.base_url,
        config=Config(
            signature_version="v4" if colon else "bearer",
            retries={"total_max_attempts": 1},
            proxies={},
        ),
    )
