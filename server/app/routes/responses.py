"""Shared pieces of responses: problems in the OpenAPI document, ETags, event streams."""

from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response, StreamingResponse

from app.core.titles import title_of
from app.schemas.base import Problem
from app.schemas.discussion import DiscussionRead

UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "What `If-None-Match` names is still current"}}
EVENT_STREAM = "text/event-stream"
SSE_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can fail with these statuses."""
    return {
        status: {
            "description": title_of(status),
            "content": {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}},
        }
        for status in statuses
    }


def etag(version: int, part: int | None = None) -> str:
    """`"<version>"` or `"<version>-<part>"`; `If-Match` looks at the version only."""
    return f'"{version}"' if part is None else f'"{version}-{part}"'


def tagged(response: Response, discussion: DiscussionRead) -> DiscussionRead:
    """The discussion, with its ETag in the headers."""
    response.headers["ETag"] = etag(discussion.version, discussion.last_seq)
    return discussion


def is_current(if_none_match: str | None, current: str) -> bool:
    """Whether the caller already has this representation (RFC 9110, weak comparison)."""
    if if_none_match is None:
        return False
    held = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return current in held or "*" in held


def not_modified(current: str) -> Response:
    return Response(status_code=304, headers={"ETag": current})


def event_stream(chunks: AsyncIterator[bytes]) -> StreamingResponse:
    """Server-sent events, unbuffered by proxies."""
    return StreamingResponse(chunks, media_type=EVENT_STREAM, headers=SSE_HEADERS)
