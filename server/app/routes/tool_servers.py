"""Tools that agents may have, and the servers that a workspace has some of them from."""

from uuid import UUID

from fastapi import APIRouter, Response

from app.core.requests import PREFIX
from app.dependencies import Cursor, Limit, ManagesProviders, ReadsAgents, ToolServerService
from app.routes.idempotent import CreatingRoute
from app.routes.responses import problems
from app.schemas.base import Page
from app.schemas.tools import ToolRead, ToolServerCreate, ToolServerRead, ToolServerTest, ToolServerUpdate

router = APIRouter(prefix=PREFIX + "/ai", tags=["ai"], route_class=CreatingRoute)


@router.get("/tools", responses=problems(401, 403, 404, 422))
async def list_tools(actor: ReadsAgents, servers: ToolServerService) -> Page[ToolRead]:
    """What an agent's `tools` may name."""
    return await servers.list_tools(actor)


@router.post("/tool-servers", status_code=201, responses=problems(401, 403, 404, 409, 413, 422))
async def create_tool_server(
    request: ToolServerCreate, response: Response, actor: ManagesProviders, servers: ToolServerService
) -> ToolServerRead:
    """Add a server of tools. Its token is kept sealed and never shown again."""
    server = await servers.create(actor, request)
    response.headers["Location"] = f"/api/v1/ai/tool-servers/{server.id}"
    response.headers["Cache-Control"] = "no-store"
    return server


@router.get("/tool-servers", responses=problems(401, 403, 404, 422))
async def list_tool_servers(
    response: Response, actor: ManagesProviders, servers: ToolServerService, limit: Limit = 50, cursor: Cursor = None
) -> Page[ToolServerRead]:
    """Newest first."""
    response.headers["Cache-Control"] = "no-store"
    return await servers.list_page(actor, limit, cursor)


@router.get("/tool-servers/{tool_server_id}", responses=problems(401, 403, 404, 422))
async def get_tool_server(
    tool_server_id: UUID, response: Response, actor: ManagesProviders, servers: ToolServerService
) -> ToolServerRead:
    """A server of tools, without its token."""
    response.headers["Cache-Control"] = "no-store"
    return await servers.get(actor, tool_server_id)


@router.patch("/tool-servers/{tool_server_id}", responses=problems(401, 403, 404, 409, 413, 422))
async def update_tool_server(
    tool_server_id: UUID,
    request: ToolServerUpdate,
    response: Response,
    actor: ManagesProviders,
    servers: ToolServerService,
) -> ToolServerRead:
    """Rename it, or change its address, token or command; a changed address wants the token again."""
    response.headers["Cache-Control"] = "no-store"
    return await servers.update(actor, tool_server_id, request)


@router.delete("/tool-servers/{tool_server_id}", status_code=204, responses=problems(401, 403, 404, 422))
async def delete_tool_server(tool_server_id: UUID, actor: ManagesProviders, servers: ToolServerService) -> None:
    """Delete it with its token; agents that name it no longer have its tools."""
    await servers.delete(actor, tool_server_id)


@router.post("/tool-servers/{tool_server_id}/test", responses=problems(401, 403, 404, 422, 424))
async def test_tool_server(
    tool_server_id: UUID, response: Response, actor: ManagesProviders, servers: ToolServerService
) -> ToolServerTest:
    """Ask the server which tools it has."""
    response.headers["Cache-Control"] = "no-store"
    return await servers.test(actor, tool_server_id)
