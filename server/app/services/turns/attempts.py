"""The attempts at one turn: which model is asked, when again, and when it is given up."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from app.config import ToolSettings
from app.core.errors import ArenaError
from app.domain.grounding import Source
from app.domain.usage import Used
from app.services.ai_models import Model, UnknownModel
from app.services.live.bus import LiveBus, LiveMessage
from app.services.prompts import prompt_tokens, sources_shown
from app.services.providers.base import ChatRequest, ModelContextExceeded, ModelError
from app.services.turns.course import Course
from app.services.turns.leases import HeldClaim, PausedBetweenAttempts
from app.services.turns.reservations import Reservations
from app.services.turns.room import NoRoom
from app.services.turns.speaking import EmptyReply, Reply, speak
from app.services.turns.structure import DoesNotFitSchema, Structure
from app.services.turns.table_state import AgentSeat, TableState
from app.services.turns.tool_use import Toolbox, ToolUse

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Spoke:
    """A turn that was taken: what was said, by which model, of what sources it was shown."""

    reply: Reply
    model: Model
    sources: Sequence[Source] = ()


@dataclass(frozen=True, slots=True)
class Passed:
    """A speaker that had nothing to say, twice; `used` is what the second time took."""

    model: Model
    used: Used


class Attempts:
    """Tries the open turn until it is taken; raise the last error when it is given up."""

    def __init__(
        self,
        table: TableState,
        held: HeldClaim,
        live: LiveBus,
        limit: int,
        reservations: Reservations,
        retry: Callable[[AgentSeat, ArenaError], Awaitable[None]],
        tool_settings: ToolSettings | None = None,
    ) -> None:
        self._tool_settings = tool_settings or ToolSettings()
        self._table = table
        self._held = held
        self._live = live
        self._limit = limit
        self._reservations = reservations
        self._retry = retry

    async def run(self, agent: AgentSeat, toolbox: Toolbox | None = None) -> Spoke | Passed:
        """`retry` is told before each further attempt what the last one failed with, and logs it."""
        course = Course(agent.models, self._limit)
        failed: ArenaError | None = None
        while True:
            try:
                model, request = await self._reservations.fit(agent, course)
                tools = self._tools(agent, toolbox) if toolbox is not None else None
                structure = self._reservations.structure_of(agent)
                reply = await self._speak(model, request, tools, structure)
                if structure is not None:
                    reply = await self._parsed(model, request, reply, structure)
                return Spoke(reply, model, (*sources_shown(request), *reply.found))
            except DoesNotFitSchema as error:
                await self._retry(agent, error)
            except NoRoom as error:
                if not course.skip():
                    raise failed or error from None
            except EmptyReply as error:
                if course.is_mute():
                    return Passed(model, error.used)
                await self._retry(agent, error)
            except (ModelError, UnknownModel) as error:
                failed = error
                self._note(error)
                tokens = prompt_tokens(request) if isinstance(error, ModelContextExceeded) else 0
                seconds = course.after(error, tokens)
                if seconds is None:
                    raise
                if not await self._held.rest(seconds):  # nobody is speaking now
                    raise PausedBetweenAttempts(error) from None
                await self._retry(agent, error)

    async def _parsed(self, model: Model, request: ChatRequest, reply: Reply, structure: Structure) -> Reply:
        """The reply with its value; one that does not fit stands without, once it was to be mended or cannot be.

        Raise `DoesNotFitSchema` where it is to be mended.
        """
        used = Used(reply.prompt_tokens, reply.completion_tokens, reply.cost_usd)
        try:
            return replace(reply, parsed=structure.parse(reply.content, used))
        except DoesNotFitSchema as error:
            if structure.unfit is not None:
                return reply
            structure.unfit = error
            again = structure.wanted_of(model, request)
            if not await self._reservations.affords_round(model, again, used):
                return reply
            raise

    def _tools(self, agent: AgentSeat, toolbox: Toolbox) -> ToolUse:
        numbers, affords = self._table.numbers, self._reservations.affords_round
        return ToolUse(toolbox, self._tool_settings, numbers, agent.participant_id, self._live, affords)

    async def _speak(
        self, model: Model, request: ChatRequest, tools: ToolUse | None, structure: Structure | None
    ) -> Reply:
        state = self._table.state
        assert state.turn_message_id is not None
        message = LiveMessage(self._held.claim.discussion_id, state.turn_message_id, state.turn + 1, state.turn_attempt)
        try:
            return await speak(model, request, message, self._live, self._held, tools, structure)
        finally:
            message.closed = True

    def _note(self, error: ArenaError) -> None:
        state = self._table.state
        log.warning("turn_attempt_failed", turn=state.turn + 1, attempt=state.turn_attempt, code=error.code)
