"""`arena api`: the HTTP process."""

import socket
from typing import Annotated, Any

import typer
import uvicorn

from app.cli.installation import check_installation
from app.config import Settings, load_settings
from app.core.cache import make_cache
from app.core.door import GuardedHttp
from app.core.errors import StartupFailed
from app.core.garbage import keep_all_that_lives
from app.core.logging import configure_logging
from app.core.mailer import make_mailer
from app.core.oidc import check_oidc
from app.core.paced_websocket import PacedWebSocket
from app.core.public_addresses import Allowance
from app.dependencies import Services
from app.main import create_app

DRAIN_SECONDS = 5
# Longer than proxies keep theirs, or one would send a request just as we close.
KEEP_ALIVE_SECONDS = 75
PROTOCOLS: dict[str, Any] = {
    "http": GuardedHttp,
    "ws": PacedWebSocket,
    # A larger frame is cut off unread; what else is too large for us is told so (`routes/socket_frames.py`).
    "ws_max_size": 4 * 1024 * 1024,
    # `create_app` believes the proxies that the settings name; uvicorn itself would believe everybody on loopback.
    "proxy_headers": False,
    "ws_per_message_deflate": False,  # it costs memory and time a viewer, and frames are small
}
"""How uvicorn speaks HTTP and WebSockets."""


def api(
    host: Annotated[str | None, typer.Option(help="Address to listen on (ARENA_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (ARENA_PORT).", min=0, max=65535)] = None,
) -> None:
    """Serve the HTTP API. Needs ARENA_DATABASE_URL and ARENA_REDIS_URL."""
    settings = _with_address(load_settings(), host, port)
    configure_logging(settings.log, "api")
    Allowance.parse(settings.outgoing.outgoing_allow)
    check_oidc(settings)
    check_installation(settings)
    make_cache(settings.redis)
    make_mailer(settings)
    sock = _listen(settings.server.host, settings.server.port, 2 * settings.server.stream_stall_seconds)
    config = uvicorn.Config(
        create_app(settings),
        loop="uvloop",
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        server_header=False,
        **PROTOCOLS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    _Server(config).run(sockets=[sock])


class _Server(uvicorn.Server):
    """Ends live streams before it waits for requests to end."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        keep_all_that_lives()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        services: Services = self.config.app.state.services  # type: ignore[union-attr]
        services.streams.close()
        await super().shutdown(sockets)


def _with_address(settings: Settings, host: str | None, port: int | None) -> Settings:
    changed = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    return settings.model_copy(update={"server": settings.server.model_copy(update=changed)})


def _listen(host: str, port: int, untaken_seconds: float) -> socket.socket:
    """A listening socket; raise `StartupFailed` if the address is taken or not ours."""
    try:
        family, _kind, _protocol, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # What is accepted here has it too: a peer that takes nothing is given up by the kernel (RFC 5482), since
            # nobody else can: a send that waits for room would wait as long as the peer answers its probes.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(untaken_seconds * 1000))
        sock.bind(address)
    except OSError as error:
        raise StartupFailed(f"cannot listen on {host}:{port}: {error.strerror or error}; set ARENA_PORT") from None
    return sock
