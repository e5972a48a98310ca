"""The last resort: anything that is no expected error is a 500 without detail, and an alert in the log."""

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.error_handlers import problem
from app.core.monitoring import HAS_BEGUN

log = structlog.stdlib.get_logger(__name__)


class UnexpectedErrors:
    """Anything that is no expected error is a 500 without detail, and an alert in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except Exception:
            log.exception("unexpected_error")
            if scope[HAS_BEGUN]:
                raise
            sentence = "something went wrong here; the request id finds it in the logs"
            await problem(500, "internal_error", sentence)(scope, receive, send)
