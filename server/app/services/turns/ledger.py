"""A driver's writes: fenced by its epoch, and decided anew when others wrote to the log meanwhile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.core.clock import utc_now
from app.domain.discussion import Status
from app.domain.events import Event, StoredEvent
from app.repositories.event_log import store
from app.repositories.jobs import PRIORITIES
from app.repositories.turns import Claim, TurnRecord, TurnRepository, TurnState
from app.services.live.bus import LiveBus
from app.services.turns.leases import ClaimLost
from app.services.turns.table_state import TableState
from app.services.unit_of_work import UnitOfWorkFactory

NEWS_PAGE = 200

Decision = tuple[TurnState, list[Event]]
"""The state to write and the events that say so; `last_seq` is filled in when their places are known."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Writes to one discussion under one claim. After a write the table shows what was written."""

    uow: UnitOfWorkFactory
    turns: TurnRepository
    live: LiveBus
    lease_seconds: float
    claim: Claim
    table: TableState

    async def write(self, decide: Callable[[], Decision], record: TurnRecord | None = None) -> None:
        """Write what `decide` makes of the table; raise `ClaimLost` if the discussion is another's by now.

        `decide` is asked again, of an up-to-date table, whenever somebody else's words came first.
        """
        while True:
            state, following = decide()
            stored = store(following, self.table.known_seq + 1, utc_now())
            state.last_seq = self.table.known_seq + len(stored)
            if await self._save(state, stored, record):
                self.table.state, self.table.known_seq = state, state.last_seq
                self.live.announce(self.claim.discussion_id, stored)
                return
            await self._catch_up()

    async def _save(self, state: TurnState, stored: Sequence[StoredEvent], record: TurnRecord | None) -> bool:
        known_seq = self.table.known_seq
        is_running = state.status == Status.RUNNING
        if is_running and state.turn_epoch != self.claim.epoch:
            return await self._save_and_give_way(state, stored, record)
        keep = self.lease_seconds if is_running else None
        return await self.turns.save(self.claim, known_seq, state, stored, record, keep_lease_seconds=keep)

    async def _save_and_give_way(
        self, state: TurnState, stored: Sequence[StoredEvent], record: TurnRecord | None
    ) -> bool:
        """Give the claim back and queue the next driver's job, in one transaction."""
        async with self.uow(self.claim.workspace_id) as work:
            saved = await self.turns.save(
                self.claim,
                self.table.known_seq,
                state,
                stored,
                record,
                keep_lease_seconds=None,
                connection=await work.connection(),
            )
            if saved:
                await work.jobs.drive(self.claim.discussion_id, PRIORITIES[self.table.priority])
            return saved

    async def _catch_up(self) -> None:
        """Read what others wrote into the log; raise `ClaimLost` if it was another driver or a command."""
        if await self.turns.last_seq(self.claim) is None:
            raise ClaimLost
        async with self.uow.reading(self.claim.workspace_id) as work:
            self.table.catch_up(await work.log.after(self.claim.discussion_id, self.table.known_seq, NEWS_PAGE))
