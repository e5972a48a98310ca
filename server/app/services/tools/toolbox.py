"""The tools of one turn, and how they are called.

Always holds: a call ends within `tool_seconds`, its result takes `tool_result_bytes` at most, and whatever goes wrong
is a result that says so. Nothing but the end of the turn itself (cancellation) gets out of `Toolbox.call`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from uuid import UUID

import structlog

from app.config import Settings, ToolSettings
from app.domain.prompt import ToolCall
from app.services.providers.base import ToolSpec
from app.services.tools.arguments import read_arguments
from app.services.tools.base import Found, Tool, ToolFailed, ToolResult
from app.services.tools.calculator import Calculator
from app.services.tools.clock import CurrentTime
from app.services.tools.http_get import HttpGet
from app.services.tools.knowledge_search import KnowledgeSearchTool, Number, Search, numbering

log = structlog.stdlib.get_logger(__name__)


class Toolbox:
    """What may be called in this turn. `specs` is what the model is offered, in the order the agent names them."""

    def __init__(self, tools: Iterable[Tool], settings: ToolSettings) -> None:
        self._tools: Mapping[str, Tool] = {tool.spec.name: tool for tool in tools}
        self._seconds = settings.tool_seconds
        self._most_bytes = settings.tool_result_bytes
        self.specs: Sequence[ToolSpec] = [tool.spec for tool in self._tools.values()]

    def title_of(self, name: str) -> str:
        """What an agent calls the tool that the model calls so: `server/tool` of a server's; else the name itself."""
        tool = self._tools.get(name)
        return name if tool is None else tool.name

    async def call(self, call: ToolCall) -> ToolResult:
        """The result, whatever happens."""
        began = monotonic()
        try:
            async with asyncio.timeout(self._seconds):
                found = await self._called(call)
        except ToolFailed as error:
            found, is_error = Found(str(error)), True
        except TimeoutError:
            found, is_error = Found(f"the tool did not answer within {self._seconds:g} s"), True
        except Exception:
            log.exception("tool_crashed", tool=self.title_of(call.name))
            found, is_error = Found("the tool failed for a reason of its own"), True
        else:
            is_error = False
        text = _cut(_sayable(found.text), self._most_bytes)
        return ToolResult(text, is_error, round((monotonic() - began) * 1000), found.passages)

    async def _called(self, call: ToolCall) -> Found:
        tool = self._tools.get(call.name)
        if tool is None:
            raise ToolFailed(f"there is no tool {call.name[:100]!r}; there are: {', '.join(self._tools) or 'none'}")
        return await tool.call(read_arguments(call.arguments, tool.faults))


def _sayable(text: str) -> str:
    """Without what neither UTF-8 nor PostgreSQL has."""
    return text.encode(errors="replace").decode().replace("\x00", "")


def _cut(text: str, most_bytes: int) -> str:
    encoded = text.encode()
    if len(encoded) <= most_bytes:
        return text
    told = f"\n[cut: the result has {len(encoded)} bytes, and {most_bytes} are shown]"
    return encoded[: max(most_bytes - len(told), 0)].decode(errors="ignore") + told


class Toolboxes:
    """Opens a toolbox for each turn that has tools."""

    def __init__(self, settings: Settings, search: Search) -> None:
        self._settings = settings.tools
        self._search = search
        self._calculator, self._current_time = Calculator(), CurrentTime()
        self._http_get = HttpGet(settings.outgoing)

    @asynccontextmanager
    async def open(
        self,
        workspace_id: UUID,
        names: Sequence[str],
        base_ids: Sequence[UUID],
        document_ids: Sequence[UUID],
        number: Number | None = None,
    ) -> AsyncIterator[Toolbox]:
        """The tools of these names that there are: built-in ones, `server/tool` and `server/*`.

        A search finds in these bases and documents alone. `number` numbers what it finds, so that passages of the
        prompt and of tools are counted together; by default from 1.
        """
        tools: dict[str, Tool] = {"calculator": self._calculator, "current_time": self._current_time}
        if base_ids or document_ids:
            passages = number or numbering()
            tools["knowledge_search"] = KnowledgeSearchTool(
                self._search, workspace_id, base_ids, document_ids, passages
            )
        if self._settings.tool_http_get == "on":
            tools["http_get"] = self._http_get
        yield Toolbox([tools[name] for name in dict.fromkeys(names) if name in tools], self._settings)

    async def close(self) -> None:
        await self._http_get.close()
