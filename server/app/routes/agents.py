"""Agents: create, read, change, delete, preview."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Annotated
from uuid import UUID

import orjson
import structlog
from fastapi import APIRouter, Path, Response
from starlette.responses import StreamingResponse

from app.core.errors import ArenaError
from app.core.requests import PREFIX
from app.dependencies import (
    Agents,
    Cursor,
    ExpectedVersion,
    IfNoneMatch,
    Kept,
    Limit,
    ReadsAgents,
    SearchText,
    UsesModels,
    WritesAgents,
)
from app.domain.kinds import Kind
from app.routes.idempotent import CreatingRoute
from app.routes.responses import UNCHANGED, etag, event_stream, is_current, kept_page, not_modified, problems
from app.schemas.agent import AgentCreate, AgentKind, AgentPreview, AgentRead, AgentUpdate
from app.schemas.base import Page
from app.services.providers.base import Finished, TextDelta

log = structlog.stdlib.get_logger(__name__)
router = APIRouter(prefix=PREFIX + "/agents", tags=["agents"], route_class=CreatingRoute)
VersionNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.post("", status_code=201, responses=problems(401, 403, 404, 409, 413, 422))
async def create_agent(request: AgentCreate, response: Response, actor: WritesAgents, agents: Agents) -> AgentRead:
    """Create an agent at version 1."""
    agent = await agents.create(actor, request)
    response.headers["Location"] = f"/api/v1/agents/{agent.id}"
    response.headers["ETag"] = etag(agent.version)
    return agent


@router.get("", response_model=Page[AgentRead], responses=problems(401, 403, 404, 422))
async def list_agents(
    actor: ReadsAgents,
    agents: Agents,
    kept: Kept,
    q: SearchText = None,
    kind: AgentKind | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Newest first; `q` is looked for in names and handles."""
    make = partial(agents.list_page, actor, text=q, kind=kind, limit=limit, cursor=cursor)
    return await kept_page(kept, actor, Kind.AGENTS, [q, kind, limit, cursor], make)


@router.get("/{agent_id}", response_model=AgentRead, responses={**UNCHANGED, **problems(401, 403, 404, 422)})
async def get_agent(
    agent_id: UUID, response: Response, actor: ReadsAgents, agents: Agents, if_none_match: IfNoneMatch = None
) -> AgentRead | Response:
    """An agent as it is now."""
    agent = await agents.get(actor, agent_id)
    current = etag(agent.version)
    if is_current(if_none_match, current):
        return not_modified(current)
    response.headers["ETag"] = current
    return agent


@router.patch("/{agent_id}", responses=problems(401, 403, 404, 409, 412, 413, 422))
async def update_agent(
    agent_id: UUID,
    request: AgentUpdate,
    response: Response,
    actor: WritesAgents,
    agents: Agents,
    expected_version: ExpectedVersion,
) -> AgentRead:
    """Make a new version of the agent; discussions keep the one they pinned."""
    agent = await agents.update(actor, agent_id, request, expected_version)
    response.headers["ETag"] = etag(agent.version)
    return agent


@router.delete("/{agent_id}", status_code=204, responses=problems(401, 403, 404, 422))
async def delete_agent(agent_id: UUID, actor: WritesAgents, agents: Agents) -> None:
    """Delete the agent; discussions keep the version they pinned."""
    await agents.delete(actor, agent_id)


@router.get("/{agent_id}/versions", responses=problems(401, 403, 404, 422))
async def list_agent_versions(
    agent_id: UUID, actor: ReadsAgents, agents: Agents, limit: Limit = 50, cursor: Cursor = None
) -> Page[AgentRead]:
    """All versions, newest first."""
    return await agents.list_versions(actor, agent_id, limit, cursor)


@router.get("/{agent_id}/versions/{version}", responses=problems(401, 403, 404, 422))
async def get_agent_version(agent_id: UUID, version: VersionNumber, actor: ReadsAgents, agents: Agents) -> AgentRead:
    """The agent as it was at one version."""
    return await agents.get_version(actor, agent_id, version)


@router.post(
    "/{agent_id}/preview",
    response_class=StreamingResponse,
    responses={
        **problems(401, 403, 404, 422),
        200: {"content": {"text/event-stream": {}}, "description": "`message.delta` events, then `message.completed`"},
    },
)
async def preview_agent(agent_id: UUID, request: AgentPreview, actor: UsesModels, agents: Agents) -> StreamingResponse:
    """One reply of the agent, streamed; nothing is stored. A model's failure comes as an `error` event."""
    return event_stream(_reply_events(await agents.preview(actor, agent_id, request)))


async def _reply_events(deltas: AsyncGenerator[TextDelta | Finished, None]) -> AsyncGenerator[bytes, None]:
    content = ""
    try:
        async with aclosing(deltas):
            async for delta in deltas:
                if isinstance(delta, TextDelta):
                    yield _event("message.delta", {"offset": len(content), "text": delta.text})
                    content += delta.text
                else:
                    usage = {
                        "prompt_tokens": delta.prompt_tokens,
                        "completion_tokens": delta.completion_tokens,
                    }
                    yield _event("message.completed", {"content": content, "usage": usage})
    except ArenaError as error:
        yield _event("error", {"code": error.code, "detail": error.detail})
    except Exception:
        log.exception("reply_cut")
        yield _event("error", {"code": "internal_error", "detail": "something went wrong here; it was logged"})


def _event(name: str, data: dict[str, object]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(data))
