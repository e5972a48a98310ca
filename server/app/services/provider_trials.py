"""Trying a provider: whether it is there and takes the key."""

import asyncio
from contextlib import aclosing
from time import perf_counter
from uuid import UUID

from app.core.errors import DependencyFailed
from app.domain.prompt import ChatMessage
from app.schemas.ai import ProviderTrial
from app.services.ai_models import ModelCatalog
from app.services.callers import Actor
from app.services.model import ModelSource
from app.services.providers.base import (
    ChatRequest,
    ModelAddressForbidden,
    ModelDisconnected,
    ModelError,
    ModelNotFound,
    ModelRejected,
    ModelTimedOut,
    ModelUnauthorized,
    ModelUnreachable,
)
from app.services.unit_of_work import UnitOfWorkFactory

TRIAL_SECONDS = 15.0
MOST_MODELS = 200


class ProviderRefusedKey(DependencyFailed):
    """The provider is there, and does not take the key."""

    code = "provider_refused_key"


class ProviderUnreachable(DependencyFailed):
    """Nobody answers at the provider's address, or it may not be called."""

    code = "provider_unreachable"


class ProviderFailed(DependencyFailed):
    """The provider answers, and not as one of its kind does."""

    code = "provider_failed"


class ProviderTrials:
    """Calls a workspace's providers once, past breakers and caps."""

    def __init__(self, uow: UnitOfWorkFactory, catalog: ModelCatalog) -> None:
        self._uow = uow
        self._catalog = catalog

    async def run(self, actor: Actor, provider_id: UUID) -> ProviderTrial:
        """How long it took and what it offers; raise an error that names the provider, and never the key."""
        async with self._uow.reading(actor.workspace_id) as work:
            name = (await work.providers.get(provider_id)).name
        self._catalog.forget(actor.workspace_id)
        clients = (await self._catalog.of(actor.workspace_id)).providers.values()
        client = next((one for one in clients if one.provider_id == provider_id), None)
        if client is None:
            raise ProviderFailed(
                f"{name!r} cannot be used: its key cannot be opened, or its name is another's; change it"
            )
        began = perf_counter()
        try:
            async with asyncio.timeout(TRIAL_SECONDS):
                models = await _offer(client.source)
        except TimeoutError:
            raise ProviderUnreachable(f"{name!r} did not answer within {TRIAL_SECONDS:g} seconds") from None
        except ModelError as error:
            raise _failure(name, error) from None
        latency_ms = round((perf_counter() - began) * 1000, 1)
        return ProviderTrial(ok=True, latency_ms=latency_ms, models=sorted(models)[:MOST_MODELS])


async def _offer(source: ModelSource) -> list[str]:
    """The names of its models; one that tells nobody is asked for a word, whichever model that is of."""
    if source.list_names is not None:
        return [f"{source.name}/{wire_name}" for wire_name in await source.list_names()]
    known = source.prices.wire_names() if source.prices else []
    request = ChatRequest(known[-1] if known else "test", [ChatMessage("user", "Hello")], max_tokens=1)
    try:
        async with aclosing(source.client.stream(request)) as items:
            async for _ in items:
                break
    except (ModelNotFound, ModelRejected):
        pass  # it knows the key, and only not that model
    return [f"{source.name}/{wire_name}" for wire_name in known]


def _failure(name: str, error: ModelError) -> DependencyFailed:
    if isinstance(error, ModelUnauthorized):
        return ProviderRefusedKey(f"{name!r} refuses the key: {error.detail}")
    if isinstance(error, ModelUnreachable | ModelDisconnected | ModelTimedOut | ModelAddressForbidden):
        return ProviderUnreachable(f"{name!r} cannot be reached: {error.detail}")
    return ProviderFailed(f"{name!r} does not answer as it should: {error.detail}")
