"""The tools that a speaker calls in one attempt at its turn.

Always holds: whatever a tool does, the turn goes on: its result is data for the model, cut to what fits, and nothing in
it can begin another role. Calls are bounded in number and in time for the whole turn; once that is used up the model is
asked once more and may call none. It is still told of its tools: Bedrock refuses calls and results without them. No
call is made, and no model asked again, that limits and budgets have no room for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Protocol
from uuid import UUID

import structlog

from app.config import ToolSettings
from app.core.ids import new_id
from app.domain import events
from app.domain.context import truncate
from app.domain.forgery import disarm
from app.domain.grounding import Numbers, Source
from app.domain.prompt import ChatMessage, ToolCall
from app.domain.speech import ToolEvent
from app.domain.usage import Used
from app.services.live.bus import LiveBus, LiveMessage
from app.services.model import Model
from app.services.prompts import PROMPT_MARGIN_TOKENS, prompt_tokens
from app.services.providers.base import ChatRequest, ToolSpec
from app.services.tools.base import ToolResult

log = structlog.stdlib.get_logger(__name__)

LONGEST_ARGUMENTS, LONGEST_SUMMARY = 1000, 300
"""Of what viewers are shown, in characters."""
MOST_CALLS_AT_ONCE = 32
LEAST_RESULT_TOKENS = 64
NO_MORE = "not called: there are no more calls in this turn; answer with what you know"


class Toolbox(Protocol):
    """What may be called in a turn; a call ends in a result, whatever happens."""

    specs: Sequence[ToolSpec]

    def title_of(self, name: str) -> str: ...

    async def call(self, call: ToolCall) -> ToolResult: ...


@dataclass(slots=True)
class ToolUse:
    """`affords` says whether there is room for a request beside what the attempt has used by then."""

    toolbox: Toolbox
    settings: ToolSettings
    numbers: Numbers
    participant_id: UUID
    live: LiveBus
    affords: Callable[[Model, ChatRequest, Used], Awaitable[bool]]
    sources: list[Source] = field(default_factory=list)
    _calls: int = 0
    _seconds: float = 0.0
    _was_told_no_more: bool = False

    async def answer(
        self, model: Model, request: ChatRequest, said: str, calls: Sequence[ToolCall], message: LiveMessage, took: Used
    ) -> ChatRequest | None:
        """Make the calls and return what the model is asked next, None where there is no room for that.

        Calls of a model that may call none are ignored; one that says nothing else is told so, once.
        """
        if not request.may_call_tools:
            if said.strip() or self._was_told_no_more:
                return None
            self._was_told_no_more = True
        calls = calls[:MOST_CALLS_AT_ONCE]
        asked = [*request.messages, ChatMessage("assistant", said, tool_calls=calls)]
        bare = replace(request, messages=[*asked, *(ChatMessage("tool", "", tool_call_id=call.id) for call in calls)])
        room = model.context_tokens - (request.max_tokens or 0) - PROMPT_MARGIN_TOKENS - prompt_tokens(bare)
        share = room // len(calls)
        if share < LEAST_RESULT_TOKENS or not await self.affords(model, bare, took):
            return None
        results = [
            ChatMessage("tool", truncate(disarm(await self._result(call, message)), share), tool_call_id=call.id)
            for call in calls
        ]
        following = replace(request, messages=[*asked, *results], may_call_tools=self._may_call)
        return following if await self.affords(model, following, took) else None

    @property
    def _may_call(self) -> bool:
        return self._calls < self.settings.tool_calls_per_turn and self._seconds < self.settings.tool_turn_seconds

    async def _result(self, call: ToolCall, message: LiveMessage) -> str:
        if not self._may_call:
            return NO_MORE
        self._calls += 1
        who = {
            "participant_id": str(self.participant_id),
            "call_id": str(new_id()),
            "tool": _sayable(self.toolbox.title_of(call.name), 200),
        }
        started = {**who, "arguments": _sayable(call.arguments, LONGEST_ARGUMENTS)}
        self._tell(message, ToolEvent(events.TOOL_STARTED, started))
        result = await self._called(call)
        finished = {
            **who,
            "ok": not result.is_error,
            "duration_ms": result.duration_ms,
            "summary": _sayable(" ".join(result.text[: 4 * LONGEST_SUMMARY].split()), LONGEST_SUMMARY),
        }
        self._tell(message, ToolEvent(events.TOOL_FINISHED, finished))
        self.sources += self.numbers.passages(result.passages, {})
        return result.text

    async def _called(self, call: ToolCall) -> ToolResult:
        """The result, in what is left of the turn's time."""
        began, left = perf_counter(), self.settings.tool_turn_seconds - self._seconds
        try:
            async with asyncio.timeout(left):
                return await self.toolbox.call(call)
        except TimeoutError:
            return ToolResult("the time for tools in this turn is used up", True, round(left * 1000))
        except Exception:
            log.exception("toolbox_failed")
            return ToolResult("the tool failed", True, round((perf_counter() - began) * 1000))
        finally:
            self._seconds += perf_counter() - began

    def _tell(self, message: LiveMessage, event: ToolEvent) -> None:
        message.add_tool(event)
        self.live.push(message)


def _sayable(text: str, most: int) -> str:
    """What can be stored of it, no longer than that."""
    clean = text[: most + 1].encode(errors="replace").decode().replace("\x00", "")
    return clean if len(clean) <= most else clean[: most - 1] + "…"
