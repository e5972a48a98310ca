"""What this process counts, for Prometheus."""

from hmac import compare_digest

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import PlainTextResponse

from app.core.errors import NotFound
from app.core.metrics import REGISTRY
from app.dependencies import ServerConfig, bearer_of
from app.routes.responses import problems

router = APIRouter(tags=["operations"])


# nosemgrep: a-route-declares-its-permission - scrapers have no account: the port or the operator's token lets them in
@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={**problems(404), 200: {"description": "Prometheus' text format", "content": {"text/plain": {}}}},
)
async def get_metrics(request: Request, settings: ServerConfig) -> Response:
    """In Prometheus' text format, to whoever is on this machine or shows `ARENA_METRICS_TOKEN`; else there is none."""
    token = settings.server.metrics_token
    shown = bearer_of(request) or ""
    if token is not None:
        is_let_in = compare_digest(shown.encode(), token.get_secret_value().encode())
    else:
        is_let_in = settings.server.is_loopback
    if not is_let_in:
        raise NotFound("there is nothing here")
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)
