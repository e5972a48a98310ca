"""Cross-origin requests (CORS, in the Fetch standard): from the origins that the operator names and no others."""

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

PREFLIGHT_SECONDS = 7200
"""What Chromium keeps an answer for at most."""
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_ASKED_WITH = (
    *("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID"),
    *("X-Request-ID", "X-Workspace-ID"),
)
_SHOWN = (
    *("ETag", "Idempotency-Replayed", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "WWW-Authenticate"),
    "X-Request-ID",
)


def allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """Let pages of these origins call the API; without credentials of the browser's own, since there are none."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=[origin.rstrip("/").lower() for origin in origins],
        allow_methods=_METHODS,
        allow_headers=_ASKED_WITH,
        expose_headers=_SHOWN,
        max_age=PREFLIGHT_SECONDS,
    )
