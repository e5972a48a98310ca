"""Providers of language models."""

from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import Conflict, NotFound
from app.models import Provider
from app.repositories.base import Repository, violates

MOST_USED = 500
"""Of a workspace's providers, the oldest."""


class ProviderNameTaken(Conflict):
    """Another provider of the workspace has the name."""

    code = "provider_name_taken"


class ProviderRepository(Repository):
    """The workspace's providers."""

    async def save(self, provider: Provider) -> None:
        """Write it; raise `ProviderNameTaken`."""
        self._session.add(provider)
        try:
            await self._session.flush()
        except IntegrityError as error:
            if violates(error, "uq_providers_workspace_id_name"):
                raise ProviderNameTaken("another provider of this workspace has this name") from None
            raise

    async def count(self) -> int:
        query = select(func.count()).where(Provider.workspace_id == self._workspace_id)
        return await self._session.scalar(query) or 0

    async def get(self, provider_id: UUID, *, for_update: bool = False) -> Provider:
        query = select(Provider).where(Provider.workspace_id == self._workspace_id, Provider.id == provider_id)
        provider: Provider | None = await self._session.scalar(query.with_for_update() if for_update else query)
        if provider is None:
            raise NotFound("there is no such provider")
        return provider

    async def list_page(self, limit: int, cursor: str | None) -> tuple[list[Provider], str | None]:
        """Newest first."""
        query = select(Provider).where(Provider.workspace_id == self._workspace_id)
        return await self._page(query, Provider.id, limit, cursor)

    async def list_all(self) -> list[Provider]:
        """Oldest first, `MOST_USED` at most."""
        query = select(Provider).where(Provider.workspace_id == self._workspace_id)
        return list((await self._session.scalars(query.order_by(Provider.id).limit(MOST_USED))).all())

    async def delete(self, provider: Provider) -> None:
        await self._session.delete(provider)


class ProviderStateRepository:
    """All providers of the installation as one value, which differs once any of them does."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def read(self) -> str:
        state: str = (await self._session.execute(text("SELECT arena_provider_state()"))).scalar_one()
        return state
