"""A driver's writes: fenced by its epoch, and decided anew when others wrote to the log meanwhile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.domain.discussion import Status
from app.domain.events import Event, StoredEvent
from app.repositories.event_log import store
from app.repositories.jobs import PRIORITIES, GivenFloor
from app.repositories.turns import Claim, TurnRecord, TurnRepository, TurnState
from app.services.live.bus import LiveBus
from app.services.turns.budget import TurnBudget
from app.services.turns.leases import ClaimLost
from app.services.turns.table_state import TableState, load_roster
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

NEWS_PAGE = 200
# People who write faster than that would keep a turn from its end for as long as they like.
TRIES_BEFORE_LOCKING = 3


@dataclass(slots=True)
class Decision:
    """What is to be written: the state, the events that say so, and the turn that is over with it.

    `last_seq` is filled in when the events' places are known. `gives_way` hands a running discussion to the next
    driver.
    """

    state: TurnState
    events: list[Event] = field(default_factory=list)
    record: TurnRecord | None = None
    gives_way: bool = False

    def after(self, *happened: Event, record: TurnRecord | None = None) -> "Decision":
        """The same, with what happened before it and the turn that is over."""
        return Decision(self.state, [*happened, *self.events], record or self.record, self.gives_way)


@dataclass(slots=True)
class Ledger:
    """Writes to one discussion under one claim. After a write the table shows what was written."""

    uow: UnitOfWorkFactory
    turns: TurnRepository
    live: LiveBus
    lease_seconds: float
    claim: Claim
    table: TableState
    budget: TurnBudget | None = None
    gave_way: bool = False

    async def write(self, decide: Callable[[], Decision]) -> None:
        """Write what `decide` makes of the table; raise `ClaimLost` if the discussion is another's by now.

        `decide` is asked again, of an up-to-date table, whenever somebody else's words came first; after some tries
        with the discussion locked, so that it waits in line with them.
        """
        for _ in range(TRIES_BEFORE_LOCKING):
            decision = decide()
            stored = self._stored(decision)
            if await self._save(decision, stored):
                break
            await self._catch_up()
        else:
            decision, stored = await self._write_locked(decide)
        self.table.state, self.table.known_seq = decision.state, decision.state.last_seq
        self.gave_way = decision.gives_way
        self.live.announce(self.claim.discussion_id, stored)

    def _stored(self, decision: Decision) -> list[StoredEvent]:
        stored = store(decision.events, self.table.known_seq + 1, self.table.now())
        decision.state.last_seq = self.table.known_seq + len(stored)
        return stored

    async def _save(self, decision: Decision, stored: Sequence[StoredEvent]) -> bool:
        brings_jobs = decision.gives_way or self._call_of(decision) is not None or self._is_remembered(decision)
        if brings_jobs or self._must_settle(decision):
            async with self.uow(self.claim.workspace_id) as work:
                return await self._save_with_others(work, decision, stored)
        return await self._save_row(decision, stored)

    async def _save_row(
        self, decision: Decision, stored: Sequence[StoredEvent], work: UnitOfWork | None = None
    ) -> bool:
        is_kept = decision.state.status == Status.RUNNING and not decision.gives_way
        return await self.turns.save(
            self.claim,
            self.table.known_seq,
            decision.state,
            stored,
            decision.record,
            keep_lease_seconds=self.lease_seconds if is_kept else None,
            connection=await work.connection() if work is not None else None,
        )

    async def _write_locked(self, decide: Callable[[], Decision]) -> tuple[Decision, list[StoredEvent]]:
        """Catch up and write while nobody else can."""
        async with self.uow(self.claim.workspace_id) as work:
            discussion = await work.discussions.find_for_update(self.claim.discussion_id)
            if discussion is None or discussion.epoch != self.claim.epoch:
                raise ClaimLost
            while self.table.known_seq < discussion.last_seq:
                await self._read_news(work)
            decision = decide()
            stored = self._stored(decision)
            if not await self._save_with_others(work, decision, stored):
                raise ClaimLost
            return decision, stored

    def _must_settle(self, decision: Decision) -> bool:
        """Whether there is something to charge, or nothing to set room aside for any more."""
        if self.budget is None:
            return False
        is_over = decision.record is not None or decision.state.status != Status.RUNNING
        return is_over or _tokens(decision.state) != _tokens(self.table.state)

    async def _save_with_others(self, work: UnitOfWork, decision: Decision, stored: Sequence[StoredEvent]) -> bool:
        """Together with what follows from it for jobs and budgets, in one transaction."""
        saved = await self._save_row(decision, stored, work)
        if saved and self.budget is not None and self._must_settle(decision):
            await self.budget.settle(work, self.table.state, decision.state)
        if saved:
            await self._queue_jobs(work, decision)
        return saved

    def _is_remembered(self, decision: Decision) -> bool:
        """Whether it ends with this, and somebody may keep something of it."""
        return decision.state.status == Status.ENDED and self.table.is_remembered

    async def _queue_jobs(self, work: UnitOfWork, decision: Decision) -> None:
        if decision.gives_way:
            await work.jobs.drive(self.claim.discussion_id, PRIORITIES[self.table.priority])
        if self._is_remembered(decision):
            work.jobs.remember(self.claim.workspace_id, self.claim.discussion_id)
        call = self._call_of(decision)
        if call is not None:
            work.jobs.tell_external(call)

    def _call_of(self, decision: Decision) -> GivenFloor | None:
        """What an external agent must be told that is given the floor."""
        floor_id = decision.state.floor_id
        seat = self.table.rules.seat(decision.state.speaker_id)
        if floor_id is None or floor_id == self.table.state.floor_id or seat is None or seat.kind != "external":
            return None
        return GivenFloor(self.claim.workspace_id, self.claim.discussion_id, floor_id)

    async def _catch_up(self) -> None:
        """Read what others wrote into the log; raise `ClaimLost` if it was another driver or a command."""
        if await self.turns.last_seq(self.claim) is None:
            raise ClaimLost
        async with self.uow.reading(self.claim.workspace_id) as work:
            await self._read_news(work)

    async def _read_news(self, work: UnitOfWork) -> None:
        self.table.catch_up(await work.log.after(self.claim.discussion_id, self.table.known_seq, NEWS_PAGE))
        if self.table.roster_changed:
            discussion = await work.discussions.get(self.claim.discussion_id)
            self.table.reseat(await load_roster(work, discussion))


def _tokens(state: TurnState) -> int:
    return state.prompt_tokens + state.completion_tokens
