"""Shared pieces of responses: problems in the OpenAPI document, ETags, event streams."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.responses import Response, StreamingResponse

from app.core.entity_tags import is_held
from app.core.titles import title_of
from app.domain.kinds import Kind
from app.schemas.base import Problem, Read
from app.schemas.discussion import DiscussionRead
from app.services.callers import Actor
from app.services.kept_answers import KeptAnswers

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
    """Whether the caller already has this representation."""
    return if_none_match is not None and is_held(if_none_match, current)


FINAL = {
    "Cache-Control": "private, max-age=600, immutable",
    "Vary": "Accept, Authorization, X-Workspace-ID",
}
"""Of what will never be another, unless it is deleted: whoever has it need not ask again for ten minutes."""


def json_answer(text: bytes, tag: str | None = None, *, is_final: bool = False) -> Response:
    """What is JSON already. With its `tag` it is not hashed again (`core/entity_tags.py`)."""
    headers = {"ETag": tag} if tag is not None else {}
    return Response(text, media_type="application/json", headers=headers | (FINAL if is_final else {}))


async def kept_page(
    kept: KeptAnswers, actor: Actor, kind: Kind, asked: object, make: Callable[[], Awaitable[Read]]
) -> Response:
    """A list that is the same for whoever in the workspace may read it, as it is kept or as `make` gives it."""

    async def make_text() -> bytes:
        return (await make()).model_dump_json().encode()

    return json_answer(await kept.get(kind, (actor.workspace_id, kind), asked, make_text))


def not_modified(current: str) -> Response:
    return Response(status_code=304, headers={"ETag": current})


def event_stream(chunks: AsyncIterator[bytes]) -> StreamingResponse:
    """Server-sent events, unbuffered by proxies."""
    return StreamingResponse(chunks, media_type=EVENT_STREAM, headers=SSE_HEADERS)
