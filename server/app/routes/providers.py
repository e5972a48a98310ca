"""Providers of models that a workspace brings itself."""

from uuid import UUID

from fastapi import APIRouter, Response

from app.core.requests import PREFIX
from app.dependencies import Cursor, Limit, ManagesProviders, Providers, Trials
from app.routes.idempotent import CreatingRoute
from app.routes.responses import problems
from app.schemas.ai import ProviderCreate, ProviderRead, ProviderTrial, ProviderUpdate
from app.schemas.base import Page

router = APIRouter(prefix=PREFIX + "/ai/providers", tags=["ai"], route_class=CreatingRoute)


@router.post("", status_code=201, responses=problems(401, 403, 404, 409, 413, 422))
async def create_provider(
    request: ProviderCreate, response: Response, actor: ManagesProviders, providers: Providers
) -> ProviderRead:
    """Add a provider. Its key is kept sealed and never shown again."""
    provider = await providers.create(actor, request)
    response.headers["Location"] = f"/api/v1/ai/providers/{provider.id}"
    response.headers["Cache-Control"] = "no-store"
    return provider


@router.get("", responses=problems(401, 403, 404, 422))
async def list_providers(
    response: Response, actor: ManagesProviders, providers: Providers, limit: Limit = 50, cursor: Cursor = None
) -> Page[ProviderRead]:
    """Newest first."""
    response.headers["Cache-Control"] = "no-store"
    return await providers.list_page(actor, limit, cursor)


@router.get("/{provider_id}", responses=problems(401, 403, 404, 422))
async def get_provider(
    provider_id: UUID, response: Response, actor: ManagesProviders, providers: Providers
) -> ProviderRead:
    """A provider, without its key."""
    response.headers["Cache-Control"] = "no-store"
    return await providers.get(actor, provider_id)


@router.patch("/{provider_id}", responses=problems(401, 403, 404, 409, 413, 422))
async def update_provider(
    provider_id: UUID, request: ProviderUpdate, response: Response, actor: ManagesProviders, providers: Providers
) -> ProviderRead:
    """Rename it, or change its address or its key; a changed address wants the key again."""
    response.headers["Cache-Control"] = "no-store"
    return await providers.update(actor, provider_id, request)


@router.delete("/{provider_id}", status_code=204, responses=problems(401, 403, 404, 422))
async def delete_provider(provider_id: UUID, actor: ManagesProviders, providers: Providers) -> None:
    """Delete it with its key."""
    await providers.delete(actor, provider_id)


@router.post("/{provider_id}/test", responses=problems(401, 403, 404, 422, 424))
async def try_provider(provider_id: UUID, response: Response, actor: ManagesProviders, trials: Trials) -> ProviderTrial:
    """Call it once: whether it is there and takes its key, and which models it offers."""
    response.headers["Cache-Control"] = "no-store"
    return await trials.run(actor, provider_id)
