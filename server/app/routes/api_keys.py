"""API keys, by which programs act for a user."""

from uuid import UUID

from fastapi import APIRouter, Response

from app.core.requests import PREFIX
from app.dependencies import ApiKeys, Cursor, Limit, ManagesAccount
from app.routes.idempotent import CreatingRoute
from app.routes.responses import problems
from app.schemas.api_keys import ApiKeyCreate, ApiKeyCreated, ApiKeyRead
from app.schemas.base import Page

router = APIRouter(prefix=PREFIX + "/auth/api-keys", tags=["auth"], route_class=CreatingRoute)


@router.post("", status_code=201, responses=problems(401, 403, 409, 422))
async def create_api_key(
    request: ApiKeyCreate, response: Response, user: ManagesAccount, keys: ApiKeys
) -> ApiKeyCreated:
    """Make a key: a bearer token with these scopes, never wider than its owner. It is shown this once."""
    response.headers["Cache-Control"] = "no-store"
    return await keys.create(user, request)


@router.get("", responses=problems(401, 403, 422))
async def list_api_keys(
    user: ManagesAccount, keys: ApiKeys, limit: Limit = 50, cursor: Cursor = None
) -> Page[ApiKeyRead]:
    """The caller's keys, newest first, without those that were revoked."""
    return await keys.list_page(user, limit=limit, cursor=cursor)


@router.delete("/{key_id}", status_code=204, responses=problems(401, 403, 404, 422))
async def revoke_api_key(key_id: UUID, user: ManagesAccount, keys: ApiKeys) -> None:
    """Revoke a key: it is refused at once, and its streams and sockets end within two seconds."""
    await keys.revoke(user, key_id)
