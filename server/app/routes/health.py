"""Alive, and ready."""

from fastapi import APIRouter, Response

from app.dependencies import Health
from app.routes.responses import problems
from app.schemas.health import Alive, Readiness

router = APIRouter(tags=["operations"])


# nosemgrep: a-route-declares-its-permission - probes have no account
@router.get("/healthz")
async def is_alive() -> Alive:
    """The process answers."""
    return Alive()


# nosemgrep: a-route-declares-its-permission - probes have no account
@router.get(
    "/readyz",
    responses={
        503: {
            "model": Readiness,
            "description": "A needed dependency is away, or there is too much to do",
            "content": problems(503)[503]["content"],
        }
    },
)
async def is_ready(response: Response, health: Health) -> Readiness:
    """Each dependency; 503 without the database, 200 without the cache, which is only an accelerator."""
    ready, dependencies = await health.check()
    if not ready:
        response.status_code = 503
        response.headers["Retry-After"] = "1"
    return Readiness(status="ready" if ready else "not ready", dependencies=dependencies)
