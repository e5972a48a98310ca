"""One claim's worth of turns: who speaks, what the model is asked, and what is written of it."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from time import perf_counter

import structlog

from app.config import ToolSettings
from app.core.errors import ArenaError, UpstreamFailed
from app.core.metrics import CITATIONS_DROPPED
from app.domain import events
from app.domain.citations import NONE, cite
from app.domain.context import Utterance
from app.domain.discussion import EndReason, Status, Step, TurnFailurePolicy
from app.domain.endings import POLICY_IS_OVER, Ending, announced_ending
from app.domain.events import Event
from app.domain.grounding import Ground
from app.domain.policies import History, Seat
from app.domain.progress import Floor
from app.domain.usage import NOTHING, Took, Used
from app.repositories.turns import TurnRecord, TurnState
from app.services.ai_models import FollowedModels, UnknownModel
from app.services.live.bus import LiveBus
from app.services.providers.base import ModelError, used_until
from app.services.tools.toolbox import Toolboxes
from app.services.turns.attempts import Attempts, Passed, Spoke
from app.services.turns.budget import TurnBudget
from app.services.turns.deliberation import Deliberation, Verdict
from app.services.turns.leases import HeldClaim, PausedBetweenAttempts
from app.services.turns.ledger import Decision, Ledger
from app.services.turns.minutes import Minutes
from app.services.turns.records import message_data, note, record, spoken
from app.services.turns.requests import TurnRequests
from app.services.turns.research import Asked, Research
from app.services.turns.reservations import OutOfBudget, Reservations
from app.services.turns.room import NoRoom
from app.services.turns.steps import charged, ended, give_floor, paused, turn_over, without_floor
from app.services.turns.table_state import AgentSeat, TableState
from app.services.turns.tool_use import Toolbox

log = structlog.stdlib.get_logger(__name__)

# Of one turn by all drivers together. A lost worker is no fault of the model, and a deploy is no reason to give up.
ATTEMPT_CEILING = 10
OPENING_SECONDS = 10.0
"""For servers of tools to say what they have."""


class TurnAbandoned(UpstreamFailed):
    """Worker after worker was lost in the turn: something about it ends them."""

    code = "turn_abandoned"
    used: Used = NOTHING


class Drive:
    """Takes turns until somebody else has the floor, the discussion rests or ends, or `must_give_way` says so."""

    def __init__(
        self,
        table: TableState,
        ledger: Ledger,
        held: HeldClaim,
        models: FollowedModels,
        live: LiveBus,
        *,
        attempts: int,
        must_give_way: Callable[[], bool],
        budget: TurnBudget | None = None,
        research: Research | None = None,
        toolboxes: Toolboxes | None = None,
        tool_settings: ToolSettings | None = None,
    ) -> None:
        self._toolboxes = toolboxes
        self._table = table
        self._research = research
        self._ledger = ledger
        self._live = live
        self._must_give_way = must_give_way
        self._models = models
        self._requests = TurnRequests(table, models, budget.most if budget else None)
        self._reservations = Reservations(table, ledger, held, self._requests, budget)
        self._held = held
        self._epoch = held.claim.epoch
        self._minutes = Minutes(ledger.uow, held.claim, table, models)
        self._attempts = Attempts(table, held, live, attempts, self._reservations, self._try_again, tool_settings)
        self._deliberation = Deliberation(table, held, models, self._reservations)
        # Of what was just said and no prompt holds yet, while it is decided what follows.
        self._unheard_tokens = 0

    async def run(self) -> None:
        await self._take_over()
        while self._table.state.status == Status.RUNNING and not self._ledger.gave_way:
            await self._models.refresh()
            await self._minutes.keep()
            if self._table.state.turn_message_id is None:
                await self._open_floor()
            else:
                await self._take_turn()

    async def _take_over(self) -> None:
        """Go on with the turn that is open, if one is: announced but not begun, or begun by a driver that is gone."""
        state = self._table.state
        if state.turn_message_id is None or state.speaker_id is None:
            return
        agent = self._table.agents.get(state.speaker_id)
        if agent is None:  # it left
            await self._ledger.write(lambda: Decision(_without_turn(self._table.state)))
        elif state.turn_epoch == 0:
            await self._begin_what_was_announced()
        else:
            await self._take_from_the_lost(agent)

    async def _begin_what_was_announced(self) -> None:
        if self._table.state.pause_requested:
            await self._ledger.write(lambda: paused(self._table.state, self._table.floor(), "requested"))
        else:
            await self._ledger.write(lambda: Decision(replace(self._table.state, turn_epoch=self._epoch)))

    async def _take_from_the_lost(self, agent: AgentSeat) -> None:
        """Charge the attempt of a driver that is gone, and begin the next, unless a pause was asked for meanwhile."""
        state = self._table.state
        used = await self._used_by_the_lost(agent)
        if state.pause_requested:
            await self._pause_between_attempts("worker_lost", used)
        elif state.turn_attempt >= ATTEMPT_CEILING:
            lost = TurnAbandoned(f"the turn was begun {state.turn_attempt} times and never finished")
            lost.used = used
            await self._fail(agent, lost)
        else:
            await self._retry("worker_lost", used)

    async def _used_by_the_lost(self, agent: AgentSeat) -> Used:
        """What the attempt took whose driver is gone, by what it had shown."""
        state = self._table.state
        assert state.turn_message_id is not None
        shown = await self._live.retained(self._held.claim.discussion_id, state.turn_message_id, state.turn_attempt)
        text = shown.content
        return self._requests.cut(agent, text, await self._reservations.left_before()) if text else NOTHING

    async def _open_floor(self) -> None:
        """Give the floor to whom a command named, or to whom the policy chooses, asking models first if it must."""
        if self._table.floor() is not None:
            await self._ledger.write(self._give_named_floor)
            return
        verdict = await self._deliberation.hold(self._table.history(self._table.state))
        await self._ledger.write(lambda: self._go_on(self._table.state, self._history(verdict), verdict))

    def _give_named_floor(self) -> Decision:
        speaker, state = self._table.floor(), self._table.state
        if speaker is None:  # it has just left
            return Decision(_without_turn(state))
        if state.pause_requested:
            return paused(state, speaker, "requested")
        return self._give(state, Floor(speaker, state.policy_state))

    def _history(self, verdict: Verdict) -> History:
        return self._table.history(self._table.state, answers=verdict.answers)

    async def _take_turn(self) -> None:
        """Attempts until the turn is committed or given up."""
        began = perf_counter()
        assert self._table.state.speaker_id is not None
        agent = self._table.agents[self._table.state.speaker_id]
        try:
            outcome = await self._attempt(agent)
        except PausedBetweenAttempts as pause:
            failed = pause.error.code if pause.error is not None else None
            await self._pause_between_attempts(failed, used_until(pause.error))
        except (ModelError, UnknownModel) as error:
            await self._fail(agent, error)
        except (NoRoom, OutOfBudget) as error:
            ending = announced_ending(self._table.state.wrap_up or error.reason)
            await self._ledger.write(lambda: ended(self._table.state, ending))
        else:
            opened = self._table.state
            if isinstance(outcome, Passed):
                await self._pass(agent, outcome)
            else:
                await self._commit(agent, outcome)
            _log_turn(opened, outcome, perf_counter() - began)

    async def _attempt(self, agent: AgentSeat) -> Spoke | Passed:
        """With what the turn rests on and its tools at hand, which are there for all its attempts."""
        async with AsyncExitStack() as until_over:
            try:
                toolbox = await self._open_tools(agent, until_over)
                if self._research is not None:
                    self._requests.ground = await self._look_up(agent, self._research)
                self._requests.tools = toolbox.specs if toolbox is not None else ()
                self._requests.ground_of = agent.participant_id
                await self._reservations.reserve(agent)
                return await self._attempts.run(agent, toolbox)
            finally:
                self._requests.ground_of = None
                structure = self._requests.structure_of(agent)
                if structure is not None:
                    structure.unfit = None

    async def _open_tools(self, agent: AgentSeat, until_over: AsyncExitStack) -> Toolbox | None:
        """None where the agent has none, or they cannot be had: the turn can be taken without."""
        names, table = agent.config.tools, self._table
        if self._toolboxes is None or not names:
            return None
        documents = [one.document_id for one in table.documents if one.document_id is not None]
        opening = self._toolboxes.open(
            self._held.claim.workspace_id,
            names,
            agent.config.knowledge_base_ids,
            documents,
            lambda passage: table.numbers.of(passage.document_id, passage.chunk_id),
        )
        try:
            async with asyncio.timeout(OPENING_SECONDS):
                toolbox: Toolbox = await until_over.enter_async_context(opening)
        except Exception as error:
            log.warning("tools_not_opened", reason=type(error).__name__)
            return None
        return toolbox if toolbox.specs else None

    async def _look_up(self, agent: AgentSeat, research: Research) -> Ground:
        table, claim = self._table, self._held.claim
        brief = table.rules.brief(agent.counts_as, table.state.policy_state)
        room = self._requests.prompt_room(agent)
        return await research.ground(Asked(claim.workspace_id, claim.discussion_id, table, agent, brief, room))

    async def _commit(self, agent: AgentSeat, spoke: Spoke) -> None:
        """Record the turn and, unless models must be asked first, begin the next one in the same statement."""
        table, reply = self._table, spoke.reply
        now = table.now()
        citations = cite(reply.content, spoke.sources, table.numbers.cited)
        data = message_data(table.state, agent, reply, now, citations)
        done = record(table.state, now, outcome="completed", model=spoke.model.name, message=data, reply=reply)
        this_note, said = note(table.state, agent, "completed"), spoken(table.state, agent, reply)

        def decide() -> Decision:
            data["seq"] = table.known_seq + 1
            state = charged(turn_over(table.state, agent.counts_as, failed_in_a_row=0), reply)
            history = table.history(state, this_note, said)
            return self._after_turn(state, history, [events.message_completed(data)], done)

        utterance = Utterance.of(data["handle"], reply.content, agent.participant_id, this_note.turn)
        self._unheard_tokens = utterance.tokens
        await self._ledger.write(decide)
        table.heard(utterance)
        table.noted(this_note)
        self._unheard_tokens = 0
        if citations is not NONE:
            table.numbers.learn(citations.found)
            CITATIONS_DROPPED.inc(citations.dropped)

    async def _pass(self, agent: AgentSeat, passed: Passed) -> None:
        """Record that the speaker had nothing to say."""
        table = self._table
        opened = table.state
        assert opened.speaker_id is not None
        happened = events.turn_passed(opened.turn + 1, opened.turn_attempt, opened.speaker_id, "empty", passed.used)
        done = record(opened, table.now(), outcome="passed", model=passed.model.name)
        this_note = note(opened, agent, "passed")

        def decide() -> Decision:
            state = charged(turn_over(table.state, agent.counts_as, failed_in_a_row=0), passed.used)
            return self._after_turn(state, table.history(state, this_note), [happened], done)

        await self._ledger.write(decide)
        table.noted(this_note)

    def _after_turn(self, state: TurnState, history: History, happened: list[Event], done: TurnRecord) -> Decision:
        """What follows a turn that is over, in the same write."""
        if self._table.rules.must_ask(history):
            following = self._before_asking(state, history)
        else:
            following = self._go_on(state, history)
        return following.after(*happened, record=done)

    def _before_asking(self, state: TurnState, history: History) -> Decision:
        """Nobody has the floor until models were asked, unless it is over or paused without that."""
        over = self._over(state, history)
        if over is not None:
            return over
        if state.pause_requested:
            return paused(state, None, "requested")
        return Decision(state, gives_way=self._must_give_way())

    def _go_on(self, state: TurnState, history: History, verdict: Verdict | None = None) -> Decision:
        """The end, a pause that was asked for, or the next speaker."""
        decision = self._following(charged(state, verdict) if verdict else state, history, verdict)
        if verdict is not None and verdict.cost is not None and decision.events:
            decision.events[-1].data["choice"] = verdict.cost
        return decision

    def _following(self, state: TurnState, history: History, verdict: Verdict | None) -> Decision:
        over = self._over(state, history, verdict)
        if over is not None:
            return over
        floor = self._table.rules.choose(history)
        if floor is None:
            return ended(state, POLICY_IS_OVER)
        if state.pause_requested:
            return self._pause_before(state, floor)
        return self._give(state, floor)

    def _over(self, state: TurnState, history: History, verdict: Verdict | None = None) -> Decision | None:
        agreement = verdict.agreement if verdict else None
        ending = self._table.rules.ending(history, self._table.spent(state), state.wrap_up, agreement=agreement)
        return ended(state, ending) if ending else None

    def _pause_before(self, state: TurnState, floor: Floor) -> Decision:
        """The speaker has finished; whoever is next speaks when the discussion is resumed."""
        resting = without_floor(state, policy_state=floor.state)
        if floor.speaker is not None:
            resting.speaker_id, resting.speaker_reason = floor.speaker.participant_id, floor.speaker.reason
        return paused(resting, floor.speaker, "requested")

    def _give(self, state: TurnState, floor: Floor) -> Decision:
        """Give the floor, for the last turn where a limit allows no more, or end where there is no room for it."""
        limits, used = self._table.rules.limits, self._table.spent(state)
        last = limits.last_turn(used)
        agent = self._table.agents.get(floor.speaker.participant_id) if floor.speaker else None
        if agent is not None:
            try:
                last = last or self._reservations.short_of(agent, used, self._unheard_tokens)
            except NoRoom as error:
                return ended(state, Ending(error.reason))
        warnings = limits.warnings(used, state.warned, last)
        begun = replace(state, wrap_up=last, warned=(*state.warned, *(one.limit for one in warnings)))
        epoch = 0 if self._must_give_way() else self._epoch
        given = give_floor(self._table, begun, floor, epoch, is_last=last is not None)
        given.events[:0] = [events.limit_warning(one) for one in warnings]
        return given

    async def _retry(self, reason: str, used: Used = NOTHING) -> None:
        """Log that the open turn begins anew, as the next attempt, and what the last one took."""
        await self._ledger.write(lambda: self._retried(reason, self._epoch, used))

    async def _try_again(self, agent: AgentSeat, error: ArenaError) -> None:
        used = used_until(error)
        await self._retry(error.code, used)
        if isinstance(error, ModelError):
            error.used = NOTHING  # that is charged; the turn may yet fail for the same error
        if used:
            await self._reservations.reserve(agent)

    def _retried(self, reason: str, epoch: int, used: Used) -> Decision:
        opened = self._table.state
        state = replace(charged(opened, used), turn_attempt=opened.turn_attempt + 1, turn_epoch=epoch)
        assert state.turn_message_id is not None
        assert state.speaker_id is not None
        retried = events.turn_retried(
            state.turn + 1, state.turn_attempt, state.speaker_id, state.turn_message_id, reason, used
        )
        return Decision(state, [retried])

    async def _pause_between_attempts(self, failed: str | None, used: Used = NOTHING) -> None:
        """Leave the next attempt announced, for whoever drives when the discussion is resumed.

        `failed` is the reason why the last one did, None if that is logged or there was none.
        """

        def decide() -> Decision:
            floor = self._table.floor()
            if floor is None:  # the speaker has left meanwhile
                return paused(_without_turn(self._table.state), None, "requested")
            if failed is None:
                return paused(replace(self._table.state, turn_epoch=0), floor, "requested")
            retried = self._retried(failed, 0, used)
            return paused(retried.state, floor, "requested").after(*retried.events)

        await self._ledger.write(decide)

    async def _fail(self, agent: AgentSeat, error: ArenaError) -> None:
        """Record that the turn cannot be taken; the discussion pauses, goes on or ends, as it was told to."""
        opened = self._table.state
        policy = self._table.rules.on_turn_failure
        done = record(opened, self._table.now(), outcome="failed", model=agent.config.model, error_code=error.code)
        log.error("turn_failed", turn=opened.turn + 1, attempt=opened.turn_attempt, code=error.code)
        if opened.wrap_up is not None:
            await self._ledger.write(lambda: self._end_unsaid(agent, error, done))
        elif policy == TurnFailurePolicy.CONTINUE:
            await self._go_on_without(agent, error, done)
        elif policy == TurnFailurePolicy.END:
            await self._ledger.write(lambda: self._end_failed(error, done))
        else:
            await self._ledger.write(lambda: self._pause_failed(error))

    def _failed(self, error: ArenaError, *, is_over: bool = False) -> Event:
        state = self._table.state
        assert state.speaker_id is not None
        return events.turn_failed(
            state.turn + 1,
            state.turn_attempt,
            state.speaker_id,
            error.code,
            error.detail,
            is_over=is_over,
            used=used_until(error),
        )

    def _pause_failed(self, error: ArenaError) -> Decision:
        """The speaker keeps the floor and begins anew when the discussion is resumed."""
        state, floor = self._table.state, self._table.floor()
        resting = charged(without_floor(state), used_until(error))
        if floor is not None:
            resting.speaker_id, resting.speaker_reason = floor.participant_id, floor.reason
        return paused(resting, floor, "turn_failed", Step.FAIL).after(self._failed(error))

    def _end_unsaid(self, agent: AgentSeat, error: ArenaError, done: TurnRecord) -> Decision:
        """The end that the turn was to be the last one before, without its last words."""
        state = self._table.state
        assert state.wrap_up is not None
        over = charged(turn_over(state, agent.counts_as), used_until(error))
        return ended(over, announced_ending(state.wrap_up)).after(self._failed(error, is_over=True), record=done)

    def _end_failed(self, error: ArenaError, done: TurnRecord) -> Decision:
        over = charged(self._table.state, used_until(error))
        return ended(over, Ending(EndReason.FAILED, error.detail)).after(self._failed(error), record=done)

    async def _go_on_without(self, agent: AgentSeat, error: ArenaError, done: TurnRecord) -> None:
        """The next speaker's turn, unless every agent's has failed in a row."""
        table = self._table
        this_note = note(table.state, agent, "failed")

        def decide() -> Decision:
            failures = table.state.failed_in_a_row + 1
            if failures >= _most_failures(table.rules.seats):
                return self._end_failed(error, done)
            over = turn_over(table.state, agent.counts_as, failed_in_a_row=failures)
            state = charged(over, used_until(error))
            failed = self._failed(error, is_over=True)
            return self._after_turn(state, table.history(state, this_note), [failed], done)

        await self._ledger.write(decide)
        table.noted(this_note)


def _most_failures(seats: Sequence[Seat]) -> int:
    """Turns that may fail in a row: one of every agent, or two of each where others can still say something."""
    agents = sum(not seat.needs_waiting for seat in seats)
    return agents if agents == len(seats) else 2 * max(agents, 1)


def _without_turn(state: TurnState) -> TurnState:
    """Whoever had the floor is gone, and the turn with them, also if it was to be the last."""
    return without_floor(state, wrap_up=None)


def _log_turn(opened: TurnState, outcome: Spoke | Passed, seconds: float) -> None:
    took: Took = outcome.reply if isinstance(outcome, Spoke) else outcome.used
    figures = {"first_token_ms": outcome.reply.first_token_ms} if isinstance(outcome, Spoke) else {}
    log.info(
        "turn_completed" if isinstance(outcome, Spoke) else "turn_passed",
        turn=opened.turn + 1,
        attempt=opened.turn_attempt,
        model=outcome.model.name,
        prompt_tokens=took.prompt_tokens,
        completion_tokens=took.completion_tokens,
        **figures,
        duration_ms=round(seconds * 1000, 2),
    )
