"""Chat models whose providers speak protocols of their own, through pydantic-ai and the providers' SDKs.

This module imports none of them: it may be loaded where they are not installed, and importing them takes seconds, which
only those should wait for who use them.
"""

import asyncio
import importlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal, Protocol

from yarl import URL

from app.core.address_guard import AddressGuard
from app.services.providers.base import (
    ChatRequest,
    Finished,
    ModelError,
    ModelTimeouts,
    ModelUnauthorized,
    TextDelta,
)
from app.services.providers.deadline import Phase, timed_out
from app.services.providers.pace import Pace
from app.services.providers.reply_text import ReplyText

SdkKind = Literal["anthropic", "google", "bedrock", "mistral"]


class ProviderNotInstalled(ModelError):
    """What calls this kind of provider is not installed."""

    code = "provider_not_installed"
    retryable = False


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a provider is, and how it is called; without a guard any address may be reached."""

    base_url: str
    api_key: str = field(repr=False)
    timeouts: ModelTimeouts
    guard: AddressGuard | None = None

    @property
    def host(self) -> str:
        return URL(self.base_url).authority.rpartition("@")[2] or self.base_url

    @property
    def secrets(self) -> list[str]:
        """What no error may tell: each part of a key that is a secret of its own."""
        return [part for part in (self.api_key, *self.api_key.split(":")) if part]


class Sdk(Protocol):
    """A provider's SDK at work, see `sdks`."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[str | Finished, None]:
        """Yield texts, "" for whatever else shows that the model is at work, `Finished` last.

        Raise a `ModelError` whatever fails, but for time-outs, which are the caller's.
        """
        ...

    async def close(self) -> None: ...


class PydanticAIModel:
    """One provider; its SDK is loaded by the first call. Use it from one event loop."""

    def __init__(self, kind: SdkKind, connection: Connection, pace: Pace | None = None) -> None:
        self._kind = kind
        self._connection = connection
        self._pace = pace or Pace()
        self._loading = asyncio.Lock()
        self._sdk: Sdk | None = None

    async def stream(self, request: ChatRequest) -> AsyncGenerator[TextDelta | Finished, None]:
        """Yield the reply as it arrives, `Finished` last; raise a `ModelError` otherwise.

        The time that it takes to load the SDK does not count.
        """
        sdk = await self.load()
        said = ReplyText(self._connection.host, request.max_tokens)
        with self._pace.speaking():
            async with aclosing(self._in_time(sdk.stream(request))) as items:
                async for item in items:
                    if isinstance(item, Finished):
                        if rest := said.rest():
                            yield TextDelta(rest)
                        yield item
                        return
                    if item and (text := said.add(item)):
                        yield TextDelta(text)
                    if said.reached:
                        yield Finished("length")
                        return

    async def load(self) -> Sdk:
        """Be ready for calls, or the first one does it; raise `ModelUnauthorized` or `ProviderNotInstalled`."""
        if not self._connection.api_key:
            raise ModelUnauthorized(f"{self._connection.host} needs an API key, and there is none")
        async with self._loading:
            if self._sdk is None:
                self._sdk = await self._load()
            return self._sdk

    async def close(self) -> None:
        sdk, self._sdk = self._sdk, None
        if sdk is not None:
            await sdk.close()

    async def _in_time(self, items: AsyncGenerator[str | Finished, None]) -> AsyncGenerator[str | Finished, None]:
        """The same items; raise `ModelTimedOut` where one does not come in time. Time that a consumer takes is free."""
        timeouts = self._connection.timeouts
        clock = asyncio.get_running_loop().time
        started = clock()
        phase: Phase = "first_token"
        until = started + timeouts.first_token_seconds
        async with aclosing(items):
            while True:
                if started + timeouts.total_seconds < until:
                    until, phase = started + timeouts.total_seconds, "total"
                try:
                    async with asyncio.timeout_at(until) as patience:
                        item = await anext(items)
                except TimeoutError:
                    if not patience.expired():
                        raise
                    raise timed_out(self._connection.host, phase, timeouts) from None
                yield item
                if isinstance(item, Finished):
                    return
                until, phase = clock() + timeouts.idle_seconds, "idle"

    async def _load(self) -> Sdk:
        """Import the SDK, and make its client, on a thread: that takes a second or more, once."""
        name = f"app.services.providers.sdks.{self._kind}"
        try:
            module = await asyncio.to_thread(importlib.import_module, name)
        except ImportError as missing:
            raise ProviderNotInstalled(
                f"providers of the kind {self._kind} need more than is installed ({missing.name or missing}): "
                "run `pip install discussion-arena[providers]`"
            ) from None
        sdk: Sdk = await asyncio.to_thread(module.connect, self._connection)
        return sdk
