"""The servers that a workspace has tools from: their tokens are kept sealed and never shown."""

from uuid import UUID

from pydantic import AnyHttpUrl, SecretStr

from app.config import ToolSettings
from app.core.errors import DependencyFailed, Invalid, located
from app.core.ids import new_id
from app.core.outgoing import Outgoing
from app.core.sealing import SealBroken, Sealer
from app.domain.audit import Action
from app.models import ToolServer
from app.models.sealed import TOOL_SERVER_TOKENS
from app.schemas.base import Page
from app.schemas.tools import (
    OfferedTool,
    ToolRead,
    ToolServerCreate,
    ToolServerRead,
    ToolServerTest,
    ToolServerUpdate,
)
from app.services.callers import Actor
from app.services.tools.addresses import Address, allows_command
from app.services.tools.base import ToolFailed
from app.services.tools.lazily import ServersWhenNeeded
from app.services.tools.names import ALL, SEPARATOR, built_in_tools
from app.services.unit_of_work import UnitOfWorkFactory

MOST_SERVERS = 50


class CommandForbidden(Invalid):
    """The administrator has not allowed that very command."""

    code = "command_forbidden"
    where = ("body", "command")


class TokenNeeded(Invalid):
    """The token must be given again: it is not sent to an address that it was not given for."""

    code = "token_needed"
    where = ("body", "token")


class OtherTransport(Invalid):
    """The field belongs to the other transport."""

    code = "other_transport"


class TooManyToolServers(Invalid):
    """The workspace has as many as it may have."""

    code = "too_many_tool_servers"


class ToolServerFailed(DependencyFailed):
    """The server does not answer as it should."""

    code = "tool_server_failed"


class ToolServers:
    """The workspace's servers of tools."""

    def __init__(self, uow: UnitOfWorkFactory, sealer: Sealer, outgoing: Outgoing, settings: ToolSettings) -> None:
        self._uow = uow
        self._sealer = sealer
        self._outgoing = outgoing
        self._settings = settings
        self._servers = ServersWhenNeeded(settings, outgoing.guard)

    async def create(self, actor: Actor, request: ToolServerCreate) -> ToolServerRead:
        await self._check(request.url, request.command)
        server = ToolServer(
            id=new_id(),
            workspace_id=actor.workspace_id,
            name=request.name,
            transport=request.transport,
            url=_text(request.url),
            command=request.command,
            created_by=actor.user_id,
        )
        server.token_sealed = self._seal(server, request.token)
        async with self._uow(actor.workspace_id) as work:
            if len(await work.tool_servers.list_names()) >= MOST_SERVERS:
                raise TooManyToolServers(f"a workspace has at most {MOST_SERVERS} tool servers")
            await work.tool_servers.save(server)
            work.audit.record(Action.TOOL_SERVER_CREATED, actor, server.id, transport=server.transport)
        return _read(server)

    async def get(self, actor: Actor, server_id: UUID) -> ToolServerRead:
        async with self._uow.reading(actor.workspace_id) as work:
            return _read(await work.tool_servers.get(server_id))

    async def list_page(self, actor: Actor, limit: int, cursor: str | None) -> Page[ToolServerRead]:
        """Newest first."""
        async with self._uow.reading(actor.workspace_id) as work:
            rows, following = await work.tool_servers.list_page(limit, cursor)
        return Page(items=[_read(row) for row in rows], next_cursor=following)

    async def update(self, actor: Actor, server_id: UUID, request: ToolServerUpdate) -> ToolServerRead:
        """Change what is given; raise `TokenNeeded` where a kept token would be sent to another address."""
        await self._check(request.url, request.command)
        async with self._uow(actor.workspace_id) as work:
            server = await work.tool_servers.get(server_id, for_update=True)
            self._change(server, request)
            await work.tool_servers.save(server)
            if fields := sorted(request.model_fields_set):
                work.audit.record(Action.TOOL_SERVER_CHANGED, actor, server.id, fields=fields)
        return _read(server)

    async def delete(self, actor: Actor, server_id: UUID) -> None:
        """Agents may still name it; they no longer have its tools."""
        async with self._uow(actor.workspace_id) as work:
            await work.tool_servers.delete(await work.tool_servers.get(server_id, for_update=True))
            work.audit.record(Action.TOOL_SERVER_DELETED, actor, server_id)

    async def test(self, actor: Actor, server_id: UUID) -> ToolServerTest:
        """Ask the server for its tools; raise `ToolServerFailed`, which names it and what it did."""
        async with self._uow.reading(actor.workspace_id) as work:
            server = await work.tool_servers.get(server_id)
        try:
            address = Address.of(server, self._sealer)
        except SealBroken:
            raise ToolServerFailed(f"the token of {server.name} cannot be read any more: give it again") from None
        try:
            offers = await (await self._servers.get()).list_now(address)
        except ToolFailed as failure:
            raise ToolServerFailed(str(failure)) from None
        return ToolServerTest(
            ok=True, tools=[OfferedTool(name=offer.tool, description=offer.spec.description) for offer in offers]
        )

    async def list_tools(self, actor: Actor) -> Page[ToolRead]:
        """What agents of the workspace may name, on one page, since it is bounded. No server is asked."""
        async with self._uow.reading(actor.workspace_id) as work:
            names = await work.tool_servers.list_names()
        built_in = [
            ToolRead(name=name, source="built_in", description=description)
            for name, description in built_in_tools(self._settings).items()
        ]
        of_servers = [
            ToolRead(name=f"{name}{SEPARATOR}{ALL}", source="server", description=f"All tools of the server {name}.")
            for name in names
        ]
        return Page(items=[*built_in, *of_servers])

    async def close(self) -> None:
        await self._servers.close()

    async def _check(self, url: AnyHttpUrl | None, command: list[str] | None) -> None:
        # Names may have to be looked up, which no transaction must wait for.
        if url is not None:
            with located("body", "url"):
                await self._outgoing.check_url(str(url))
        if command is not None and not allows_command(self._settings, command):
            raise CommandForbidden("the administrator has to allow that very command (ARENA_MCP_COMMANDS)")

    def _change(self, server: ToolServer, request: ToolServerUpdate) -> None:
        given = request.model_fields_set
        for field in ("command",) if server.transport == "http" else ("url", "token"):
            if field in given:
                raise OtherTransport(f"a {server.transport} server has no {field}", field)
        if "url" in given and _text(request.url) != server.url:
            if server.token_sealed is not None and "token" not in given:
                raise TokenNeeded("give the token again: the one that is kept is not sent to another url")
            server.url = _text(request.url)
        if "token" in given:
            server.token_sealed = self._seal(server, request.token)
        server.command = request.command or server.command
        server.name = request.name or server.name

    def _seal(self, server: ToolServer, token: SecretStr | None) -> bytes | None:
        if token is None:
            return None
        return self._sealer.seal(token.get_secret_value().encode(), TOOL_SERVER_TOKENS.place(server.id))


def _read(server: ToolServer) -> ToolServerRead:
    return ToolServerRead(
        id=server.id,
        name=server.name,
        transport=server.transport,
        url=server.url,
        has_token=server.token_sealed is not None,
        command=server.command,
        created_at=server.created_at,
        updated_at=server.updated_at,
    )


def _text(url: AnyHttpUrl | None) -> str | None:
    return None if url is None else str(url)
