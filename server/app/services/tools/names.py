"""What an agent calls its tools: `calculator`, `server/tool`, `server/*`."""

from collections.abc import Collection, Sequence

from app.config import ToolSettings
from app.core.errors import Invalid
from app.services.tools.calculator import Calculator
from app.services.tools.clock import CurrentTime
from app.services.tools.http_get import HttpGet
from app.services.tools.knowledge_search import KnowledgeSearchTool

BUILT_IN = {tool.name: tool.spec.description for tool in (KnowledgeSearchTool, Calculator, CurrentTime, HttpGet)}
SEPARATOR = "/"
ALL = "*"


def built_in_tools(settings: ToolSettings) -> dict[str, str]:
    """The names and descriptions of those that this installation has."""
    is_off = settings.tool_http_get == "off"
    return {name: description for name, description in BUILT_IN.items() if not (is_off and name == HttpGet.name)}


class UnknownTool(Invalid):
    """An agent names a tool that this server does not offer."""

    code = "unknown_tool"
    where = ("body", "tools")


def servers_in(names: Sequence[str]) -> set[str]:
    """The servers whose tools are named."""
    return {name.partition(SEPARATOR)[0] for name in names if SEPARATOR in name}


def check_names(names: Sequence[str], servers: Collection[str], settings: ToolSettings) -> None:
    """Raise `UnknownTool` for the first that nothing of this workspace is called.

    Which tools a server has is not asked: it may be away just now, and may have others tomorrow.
    """
    for place, name in enumerate(names):
        server, separator, tool = name.partition(SEPARATOR)
        if separator and server not in servers:
            raise UnknownTool(f"there is no tool server {server!r}", place)
        if separator and not tool:
            raise UnknownTool(f"{name!r} names no tool of the server; {server}/{ALL} means all of them", place)
        if not separator and name not in BUILT_IN:
            raise UnknownTool(
                f"there is no tool {name!r}; there are {', '.join(BUILT_IN)}, and server/tool or server/* of the"
                " workspace's tool servers",
                place,
            )
        if not separator and name not in built_in_tools(settings):
            raise UnknownTool(f"{name} is switched off on this installation (ARENA_TOOL_HTTP_GET)", place)
