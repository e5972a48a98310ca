"""Servers of tools."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from app.core.errors import Conflict, NotFound
from app.models import ToolServer
from app.repositories.base import Repository, violates


class ToolServerNameTaken(Conflict):
    """Another tool server of the workspace has the name."""

    code = "tool_server_name_taken"


class ToolServerRepository(Repository):
    """The workspace's servers of tools."""

    async def save(self, server: ToolServer) -> None:
        """Write it; raise `ToolServerNameTaken`."""
        self._session.add(server)
        try:
            await self._session.flush()
        except IntegrityError as error:
            if violates(error, "uq_tool_servers_workspace_id_name"):
                raise ToolServerNameTaken("another tool server of this workspace has this name") from None
            raise

    async def get(self, server_id: UUID, *, for_update: bool = False) -> ToolServer:
        query = select(ToolServer).where(ToolServer.workspace_id == self._workspace_id, ToolServer.id == server_id)
        server: ToolServer | None = await self._session.scalar(query.with_for_update() if for_update else query)
        if server is None:
            raise NotFound("there is no such tool server")
        return server

    async def named(self, names: Collection[str]) -> dict[str, ToolServer]:
        """Those that there are, by name."""
        if not names:
            return {}
        query = select(ToolServer).where(ToolServer.workspace_id == self._workspace_id, ToolServer.name.in_(names))
        return {server.name: server for server in await self._session.scalars(query)}

    async def list_names(self) -> list[str]:
        """In their order."""
        query = select(ToolServer.name).where(ToolServer.workspace_id == self._workspace_id)
        return list(await self._session.scalars(query.order_by(ToolServer.name)))

    async def list_page(self, limit: int, cursor: str | None) -> tuple[list[ToolServer], str | None]:
        """Newest first."""
        query = select(ToolServer).where(ToolServer.workspace_id == self._workspace_id)
        return await self._page(query, ToolServer.id, limit, cursor)

    async def delete(self, server: ToolServer) -> None:
        await self._session.delete(server)
