"""`GET /ws`: one WebSocket (RFC 6455), many discussions, and a way to speak; subprotocol `arena.v1`."""

import asyncio
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from app.config import ServerSettings
from app.core.error_handlers import problem, status_of
from app.core.errors import ArenaError, Unauthenticated
from app.core.requests import PREFIX
from app.dependencies import Services, services_of
from app.routes.socket_frames import error_frame, read_frame, receive_text, send
from app.routes.socket_session import UNEXPECTED, SocketSession
from app.schemas.socket import AuthFrame
from app.services.callers import CurrentUser

log = structlog.stdlib.get_logger(__name__)

router = APIRouter(prefix=PREFIX, tags=["streams"])

SUBPROTOCOL = "arena.v1"
# Come back: we are about to stop, or the socket has lived long enough.
SERVICE_RESTART = 1012
CLOSE_CODES_FROM = 4000
_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}


@router.websocket("/ws")
async def open_socket(websocket: WebSocket, ticket: str | None = None) -> None:
    """Serve one socket to its end. What is wrong with it is told in an `error` frame before it is closed."""
    services = services_of(websocket)
    if not is_welcome(websocket.headers.get("origin"), websocket.headers.get("host", ""), services.settings.server):
        sentence = "pages of this origin may not open a WebSocket here; see ARENA_ALLOWED_ORIGINS"
        await websocket.send_denial_response(problem(403, "origin_not_allowed", sentence))
        return
    offered = websocket.scope.get("subprotocols", [])
    await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
    try:
        user = await _who_is_it(websocket, services, ticket)
        await SocketSession(websocket, services, user).serve()
    except ArenaError as error:
        await _refuse(websocket, error)
    except (WebSocketDisconnect, OSError):  # nobody is there any more
        return
    except Exception:
        log.exception("unexpected_error")
        await _refuse(websocket, ArenaError(UNEXPECTED))
    else:
        await _close(websocket, SERVICE_RESTART)


def is_welcome(origin: str | None, host: str, settings: ServerSettings) -> bool:
    """Whether a page of that origin may open a socket: browsers ask no preflight, but send it (RFC 6455, 10.2).

    Programs send none. Schemes are not compared, since a gateway may end TLS before us.
    """
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        return False
    allowed = {given.strip().rstrip("/").lower() for given in (settings.allowed_origins or "").split(",")}
    return origin.lower() in allowed or _with_port(parts.netloc, parts.scheme) == _with_port(host, parts.scheme)


def _with_port(netloc: str, scheme: str) -> str:
    netloc = netloc.lower()
    has_port = netloc.rpartition("]")[2].count(":") == 1
    return netloc if has_port else f"{netloc}:{_PORTS[scheme]}"


async def _who_is_it(websocket: WebSocket, services: Services, ticket: str | None) -> CurrentUser:
    """By the ticket, or by the first frame; raise `Unauthenticated` if neither says so in time."""
    if ticket is not None:
        return await services.stream_access.redeem_ticket(ticket)
    seconds = services.settings.server.socket_auth_seconds
    try:
        async with asyncio.timeout(seconds):
            frame = read_frame(await receive_text(websocket))
    except TimeoutError:
        raise Unauthenticated(f"no `auth` frame came within {seconds:g} seconds") from None
    if not isinstance(frame, AuthFrame):
        raise Unauthenticated("the first frame must be `auth`, unless the socket was opened with a ticket")
    return await services.callers.identify(frame.token)


async def _refuse(websocket: WebSocket, error: ArenaError) -> None:
    try:
        await send(websocket, error_frame(error))
    except (WebSocketDisconnect, OSError):
        return
    await _close(websocket, CLOSE_CODES_FROM + status_of(error), error.code)


async def _close(websocket: WebSocket, code: int, reason: str = "") -> None:
    try:
        await websocket.close(code, reason)
    except (WebSocketDisconnect, OSError, RuntimeError):  # it is closed already
        return
