"""Where a tool server is, and what it is told of who is calling."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import orjson

from app.config import ToolSettings, listed
from app.core.sealing import Sealer
from app.models import ToolServer
from app.models.sealed import TOOL_SERVER_TOKENS


def allows_command(settings: ToolSettings, command: Sequence[str]) -> bool:
    """Whether the administrator allows that very command, with these very arguments."""
    return list(command) in [shlex.split(entry) for entry in listed(settings.mcp_commands)]


@dataclass(frozen=True, slots=True)
class Address:
    """A `url`, or a `command` of this machine; `version` changes with every change of the server."""

    id: UUID
    version: datetime
    name: str
    url: str | None = None
    command: tuple[str, ...] = ()
    token: str | None = field(default=None, repr=False)

    def redacted(self, text: str) -> str:
        """The text without our token, which a server may give back."""
        if self.token is None:
            return text
        for form in (self.token, orjson.dumps(self.token).decode()[1:-1]):  # as it is, and as JSON has it
            text = text.replace(form, "[token]")
        return text

    @classmethod
    def of(cls, server: ToolServer, sealer: Sealer) -> "Address":
        """Raise `SealBroken` if the token can no longer be read."""
        token = None
        if server.token_sealed is not None:
            token = sealer.unseal(server.token_sealed, TOOL_SERVER_TOKENS.place(server.id)).decode()
        return cls(server.id, server.updated_at, server.name, server.url, tuple(server.command or ()), token)
