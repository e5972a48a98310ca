"""API keys: made, listed and revoked by their owner; never wider than their owner."""

from collections.abc import Sequence
from uuid import UUID

from app.core.api_keys import hint_of, make_key
from app.core.errors import Forbidden, Invalid, NotFound
from app.core.ids import new_id
from app.core.security import digest_of
from app.domain.audit import Action
from app.domain.permissions import SCOPES, Permission
from app.models import ApiKey
from app.schemas.api_keys import ApiKeyCreate, ApiKeyCreated, ApiKeyRead
from app.schemas.base import Page
from app.services.callers import Callers, CurrentUser, InvalidScope
from app.services.unit_of_work import UnitOfWorkFactory


class ScopeNotHeld(Forbidden):
    """A key may do nothing that its owner may not."""

    code = "scope_not_held"


class AlreadyExpired(Invalid):
    """A key that is over before it begins."""

    code = "already_expired"
    where = ("body", "expires_at")


class ApiKeyService:
    """Only the digest of a key is kept; what a key is good for is found out by `Callers`."""

    def __init__(self, uow: UnitOfWorkFactory, callers: Callers) -> None:
        self._uow = uow
        self._callers = callers

    async def create(self, user: CurrentUser, request: ApiKeyCreate) -> ApiKeyCreated:
        """Make a key and show it, this once."""
        scopes = _checked(user, request.scopes)
        secret = make_key()
        key = ApiKey(
            id=new_id(),
            user_id=user.user.id,
            name=request.name,
            hint=hint_of(secret),
            digest=digest_of(secret),
            scopes=scopes,
            expires_at=request.expires_at,
        )
        async with self._uow() as work:
            if request.expires_at is not None and request.expires_at <= work.now():
                raise AlreadyExpired("expires_at is in the past")
            await work.api_keys.add(key)
            work.audit.record(Action.API_KEY_CREATED, user.by, key.id, scopes=scopes)
        return ApiKeyCreated(key=secret, **ApiKeyRead.model_validate(key).model_dump())

    async def list_page(self, user: CurrentUser, *, limit: int, cursor: str | None) -> Page[ApiKeyRead]:
        async with self._uow.reading() as work:
            keys, next_cursor = await work.api_keys.list_page(user.user.id, limit=limit, cursor=cursor)
        return Page(items=[ApiKeyRead.model_validate(key) for key in keys], next_cursor=next_cursor)

    async def revoke(self, user: CurrentUser, key_id: UUID) -> None:
        """End the key and its streams and sockets, here at once and elsewhere within two seconds."""
        async with self._uow() as work:
            if not await work.api_keys.revoke(key_id, user.user.id):
                raise NotFound("there is no such API key")
            work.audit.record(Action.API_KEY_REVOKED, user.by, key_id)
        self._callers.forget(key_id)


def _checked(user: CurrentUser, names: Sequence[str]) -> list[str]:
    """The scopes, each once, in the order of the table; raise `InvalidScope` or `ScopeNotHeld`."""
    for index, name in enumerate(names):
        if name not in SCOPES:
            raise InvalidScope(f"{name!r} is no scope that a key can have", "scopes", index)
    not_held = [name for name in names if not user.may(Permission(name))]
    if not_held:
        raise ScopeNotHeld(f"a key cannot do what its owner may not: {', '.join(not_held)}")
    return [permission.value for permission in Permission if permission in names]
