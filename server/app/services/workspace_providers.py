"""Clients of the providers that workspaces bring: one for each provider as it was last changed.

Always holds: a key is unsealed only to make a client of it; a client that is replaced is closed once its last call is
over, so that a changed key cuts nobody's reply.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from cachetools import LRUCache
from redis.asyncio import Redis

from app.config import ModelSettings
from app.core.address_guard import AddressGuard
from app.core.sealing import SealBroken, Sealer
from app.domain.provider_names import name_in_models
from app.models import Provider
from app.models.sealed import PROVIDER_KEYS
from app.services.embedding.base import Embedded, Embedder, Vectors
from app.services.embedding.openai_compatible import EmbeddingsEndpoint, OpenAICompatibleEmbedder
from app.services.model import PRICED_AS, ModelSource, PriceList
from app.services.operator_models import timeouts_of
from app.services.providers.base import ChatModel, ChatRequest, Finished, ModelError, TextDelta
from app.services.providers.breaker import Breakers
from app.services.providers.caps import Caps
from app.services.providers.guarded import GuardedModel
from app.services.providers.kinds import make_model
from app.services.providers.openai_compatible import OpenAICompatibleModel
from app.services.providers.pace import Pace

MOST_CLIENTS = 1000
"""Of one process; a provider that was not used for longest has to be connected to anew."""
MOST_EMBEDDERS = 50


@dataclass
class ProviderClient:
    """A provider as it was last changed, and the way to it."""

    provider_id: UUID
    workspace_id: UUID
    updated_at: datetime
    bare: ChatModel
    source: ModelSource
    endpoint: EmbeddingsEndpoint | None
    _embedders: LRUCache[str, Embedder] = field(default_factory=lambda: LRUCache(MOST_EMBEDDERS))
    _calls: int = 0
    _is_retired: bool = False

    def embedder(self, wire_name: str) -> Embedder | None:
        """None if the provider offers no embeddings here."""
        if self.endpoint is None:
            return None
        if wire_name not in self._embedders:
            self._embedders[wire_name] = _CountedEmbedder(OpenAICompatibleEmbedder(self.endpoint, wire_name), self)
        return self._embedders[wire_name]

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[None]:
        """It is not closed while the block runs."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            await self._close_if_over()

    async def retire(self) -> None:
        """Close it, once nobody uses it."""
        self._is_retired = True
        await self._close_if_over()

    async def close(self) -> None:
        await self.bare.close()
        if self.endpoint is not None:
            await self.endpoint.close()

    async def _close_if_over(self) -> None:
        if self._is_retired and not self._calls:
            await self.close()


class _CountedModel:
    """A chat model whose calls its client is told of."""

    def __init__(self, inner: ChatModel) -> None:
        self._inner = inner
        self.owner: ProviderClient | None = None

    async def stream(self, request: ChatRequest) -> AsyncGenerator[TextDelta | Finished, None]:
        assert self.owner is not None
        async with self.owner.in_use(), aclosing(self._inner.stream(request)) as items:
            async for item in items:
                yield item

    async def list_names(self) -> list[str]:
        assert self.owner is not None
        assert isinstance(self._inner, OpenAICompatibleModel)
        async with self.owner.in_use():
            return await self._inner.list_models()

    async def close(self) -> None:
        await self._inner.close()


class _Unusable:
    """Stands for a client that could not be made."""

    def __init__(self, error: ModelError) -> None:
        self._kind, self._detail = type(error), error.detail

    async def stream(self, _request: ChatRequest) -> AsyncGenerator[TextDelta | Finished, None]:
        raise self._kind(self._detail)
        yield  # what makes it a generator

    async def close(self) -> None:
        """There is nothing to close."""


class _CountedEmbedder:
    """The same for an embedder."""

    def __init__(self, inner: Embedder, owner: ProviderClient) -> None:
        self._inner = inner
        self._owner = owner

    async def embed(self, texts: Sequence[str]) -> Vectors:
        async with self._owner.in_use():
            return await self._inner.embed(texts)

    async def embed_counted(self, texts: Sequence[str], dimensions: int | None = None) -> Embedded:
        async with self._owner.in_use():
            return await self._inner.embed_counted(texts, dimensions)

    async def close(self) -> None:
        """The client is its provider's, and stays."""


class ProviderClients:
    """The clients of one process."""

    def __init__(
        self, settings: ModelSettings, sealer: Sealer, guard: AddressGuard, cache: Redis | None, pace: Pace
    ) -> None:
        self._settings = settings
        self._sealer = sealer
        self._guard = guard
        self._cache = cache
        self._pace = pace
        self._timeouts = timeouts_of(settings)
        self._clients: OrderedDict[UUID, ProviderClient] = OrderedDict()

    async def of(self, workspace_id: UUID, providers: Sequence[Provider]) -> list[ProviderClient]:
        """Clients of all the providers that the workspace has, in their order; one whose key cannot be opened has none.

        Of a kind that cannot be used here, it is the calls that fail.
        """
        present = {provider.id for provider in providers}
        for client in [one for one in self._clients.values() if one.workspace_id == workspace_id]:
            if client.provider_id not in present:
                await self._retire(client)
        found = [await self._client(provider) for provider in providers]
        return [client for client in found if client is not None]

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
        self._clients.clear()

    async def _client(self, provider: Provider) -> ProviderClient | None:
        known = self._clients.get(provider.id)
        if known is not None and known.updated_at == provider.updated_at:
            self._clients.move_to_end(provider.id)
            return known
        if known is not None:
            await self._retire(known)
        key = self.key_of(provider)
        if key is None:
            return None
        client = self._clients[provider.id] = self._make(provider, key)
        while len(self._clients) > MOST_CLIENTS:
            await self._retire(next(iter(self._clients.values())))
        return client

    async def _retire(self, client: ProviderClient) -> None:
        if self._clients.get(client.provider_id) is client:  # while others were closed, somebody else may have done it
            del self._clients[client.provider_id]
        await client.retire()

    def key_of(self, provider: Provider) -> str | None:
        """The key, "" where the provider wants none; None: what it was sealed with is gone."""
        if provider.api_key_sealed is None:
            return ""
        try:
            return self._sealer.unseal(provider.api_key_sealed, PROVIDER_KEYS.place(provider.id)).decode()
        except SealBroken:
            return None

    def _make(self, provider: Provider, key: str) -> ProviderClient:
        settings, name = self._settings, name_in_models(provider.name)
        try:
            bare = make_model(
                provider.kind,
                provider.base_url,
                key or None,
                timeouts=self._timeouts,
                pace=self._pace,
                guard=self._guard,
            )
        except ModelError as error:  # the others of the workspace can be used
            bare = _Unusable(error)
        counted = _CountedModel(bare)
        caps = Caps(
            str(provider.id),
            self._cache,
            concurrency=settings.provider_concurrency,
            per_minute=settings.provider_requests_per_minute,
            wait_seconds=settings.openai_wait_seconds,
            setting="ARENA_PROVIDER",
        )
        breakers = Breakers(name, settings.model_breaker_failures, settings.model_breaker_seconds)
        source = ModelSource(
            name=name,
            kind=provider.kind,
            client=GuardedModel(counted, breakers, caps),
            context_tokens=settings.openai_context_tokens,
            prices=_price_list(provider),
            version=f"{provider.id}:{provider.updated_at.isoformat()}",
            knows_contexts=True,
            list_names=counted.list_names if isinstance(bare, OpenAICompatibleModel) else None,
        )
        endpoint = None
        if provider.kind == "openai_compatible" and provider.base_url is not None:
            endpoint = EmbeddingsEndpoint(provider.base_url, key, self._timeouts, self._guard)
        client = ProviderClient(provider.id, provider.workspace_id, provider.updated_at, bare, source, endpoint)
        counted.owner = client
        return client


def _price_list(provider: Provider) -> PriceList:
    if provider.kind in PRICED_AS:
        return PriceList(name=PRICED_AS[provider.kind])
    return PriceList(address=provider.base_url)
