"""Providers of language models that a workspace brings itself: their keys are kept sealed and never shown."""

from uuid import UUID

from pydantic import AnyHttpUrl, SecretStr

from app.core.errors import Invalid, located
from app.core.ids import new_id
from app.core.outgoing import Outgoing
from app.core.sealing import SealBroken, Sealer
from app.domain.audit import Action
from app.models import Provider
from app.models.sealed import PROVIDER_KEYS
from app.schemas.ai import ProviderCreate, ProviderRead, ProviderUpdate
from app.schemas.base import Page
from app.services.ai_models import ModelCatalog
from app.services.callers import Actor
from app.services.unit_of_work import UnitOfWorkFactory

MOST_PROVIDERS = 50
SHORTEST_HINTED = 20
HINT_CHARACTERS = 4


class BaseUrlNeeded(Invalid):
    """An OpenAI-compatible provider is nowhere without it."""

    code = "base_url_needed"
    where = ("body", "base_url")


class ApiKeyNeeded(Invalid):
    """The key must be given (again): it is not sent to an address that it was not given for."""

    code = "api_key_needed"
    where = ("body", "api_key")


class TooManyProviders(Invalid):
    """The workspace has as many as it may have."""

    code = "too_many_providers"


class ModelProviders:
    """The workspace's providers."""

    def __init__(self, uow: UnitOfWorkFactory, sealer: Sealer, outgoing: Outgoing, catalog: ModelCatalog) -> None:
        self._uow = uow
        self._sealer = sealer
        self._outgoing = outgoing
        self._catalog = catalog

    async def create(self, actor: Actor, request: ProviderCreate) -> ProviderRead:
        await self._check_url(request.base_url)
        provider = Provider(
            id=new_id(),
            workspace_id=actor.workspace_id,
            name=request.name,
            kind=request.kind,
            base_url=_text(request.base_url),
            created_by=actor.user_id,
        )
        provider.api_key_sealed = self._seal(provider, request.api_key)
        async with self._uow(actor.workspace_id) as work:
            if await work.providers.count() >= MOST_PROVIDERS:
                raise TooManyProviders(f"a workspace has at most {MOST_PROVIDERS} providers; delete one first")
            await work.providers.save(provider)
            work.audit.record(Action.PROVIDER_CREATED, actor, provider.id, kind=provider.kind)
        self._catalog.forget(actor.workspace_id)
        return self._read(provider)

    async def get(self, actor: Actor, provider_id: UUID) -> ProviderRead:
        async with self._uow.reading(actor.workspace_id) as work:
            return self._read(await work.providers.get(provider_id))

    async def list_page(self, actor: Actor, limit: int, cursor: str | None) -> Page[ProviderRead]:
        """Newest first."""
        async with self._uow.reading(actor.workspace_id) as work:
            rows, following = await work.providers.list_page(limit, cursor)
        return Page(items=[self._read(row) for row in rows], next_cursor=following)

    async def update(self, actor: Actor, provider_id: UUID, request: ProviderUpdate) -> ProviderRead:
        """Change what is given; raise `ApiKeyNeeded` where a kept key would be sent to another address."""
        await self._check_url(request.base_url)
        async with self._uow(actor.workspace_id) as work:
            provider = await work.providers.get(provider_id, for_update=True)
            self._change_address(provider, request)
            if "api_key" in request.model_fields_set:
                if request.api_key is None and provider.kind != "openai_compatible":
                    raise ApiKeyNeeded(f"a provider of the kind {provider.kind} needs an api_key")
                provider.api_key_sealed = self._seal(provider, request.api_key)
            provider.name = request.name or provider.name
            await work.providers.save(provider)
            if fields := sorted(request.model_fields_set):
                work.audit.record(Action.PROVIDER_CHANGED, actor, provider.id, fields=fields)
        self._catalog.forget(actor.workspace_id)
        return self._read(provider)

    async def delete(self, actor: Actor, provider_id: UUID) -> None:
        async with self._uow(actor.workspace_id) as work:
            await work.providers.delete(await work.providers.get(provider_id, for_update=True))
            work.audit.record(Action.PROVIDER_DELETED, actor, provider_id)
        self._catalog.forget(actor.workspace_id)

    def _change_address(self, provider: Provider, request: ProviderUpdate) -> None:
        if "base_url" not in request.model_fields_set or _text(request.base_url) == provider.base_url:
            return
        if request.base_url is None and provider.kind == "openai_compatible":
            raise BaseUrlNeeded("an openai_compatible provider needs a base_url")
        if provider.api_key_sealed is not None and "api_key" not in request.model_fields_set:
            raise ApiKeyNeeded("give the api_key again: the one that is kept is not sent to another base_url")
        provider.base_url = _text(request.base_url)

    async def _check_url(self, base_url: AnyHttpUrl | None) -> None:
        # Names may have to be looked up, which no transaction must wait for.
        if base_url is not None:
            with located("body", "base_url"):
                await self._outgoing.check_url(str(base_url))

    def _seal(self, provider: Provider, key: SecretStr | None) -> bytes | None:
        if key is None:
            return None
        return self._sealer.seal(key.get_secret_value().encode(), PROVIDER_KEYS.place(provider.id))

    def _read(self, provider: Provider) -> ProviderRead:
        return ProviderRead(
            id=provider.id,
            name=provider.name,
            kind=provider.kind,
            base_url=provider.base_url,
            has_key=provider.api_key_sealed is not None,
            key_hint=self._hint(provider),
            created_at=provider.created_at,
            updated_at=provider.updated_at,
        )

    def _hint(self, provider: Provider) -> str | None:
        """Of a short key the last characters would be a good part."""
        if provider.api_key_sealed is None:
            return None
        try:
            key = self._sealer.unseal(provider.api_key_sealed, PROVIDER_KEYS.place(provider.id)).decode()
        except SealBroken:
            return None  # the secret key it was sealed with is gone, and this key with it
        return key[-HINT_CHARACTERS:] if len(key) >= SHORTEST_HINTED else None


def _text(url: AnyHttpUrl | None) -> str | None:
    return None if url is None else str(url)
