"""The tool servers of this process, for whom nothing is imported where nobody has any."""

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

from app.config import ToolSettings
from app.core.address_guard import AddressGuard

if TYPE_CHECKING:
    from app.services.tools.servers import Servers


class ServersWhenNeeded:
    """Use it from one event loop."""

    def __init__(self, settings: ToolSettings, guard: AddressGuard) -> None:
        self._settings = settings
        self._guard = guard
        self._servers: Servers | None = None

    async def get(self) -> "Servers":
        """The first who needs them waits for the import, on a thread."""
        if self._servers is None:
            module = await asyncio.to_thread(import_module, "app.services.tools.servers")
            self._servers = self._servers or module.Servers(self._settings, self._guard)
        assert self._servers is not None
        return self._servers

    async def close(self) -> None:
        if self._servers is not None:
            await self._servers.close()
