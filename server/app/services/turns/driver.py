"""The turn driver.

Always holds: one claim drives a discussion at a time, and every write carries its epoch, so a driver that was taken
over changes nothing. A turn is one commit: message, usage, turn, events, the next speaker and the start of its turn.
No transaction and no connection is held while a model speaks.

Who may call: a worker's `drive_discussion` job, any number of times for the same discussion; a superfluous call finds
the claim held and leaves.

What a crash leaves: the open turn in the discussion's row (`turn_message_id`, `turn_attempt`, run by `turn_epoch`).
The next driver logs `turn.retried` with the next attempt and runs it again; the message is written once, because
`(discussion_id, turn)` is unique and the commit is fenced.
"""

import asyncio
from dataclasses import dataclass, field
from time import perf_counter
from uuid import UUID

import structlog
from cachetools import TTLCache

from app.config import Settings
from app.core.errors import Unavailable
from app.repositories.turns import Claim, Held, TurnRepository
from app.services.ai_models import FollowedModels, ModelCatalog
from app.services.discussion_flow import give_up
from app.services.live.bus import LiveBus
from app.services.tools.toolbox import Toolboxes
from app.services.turns.budget import TurnBudget, are_set, budgets_of, payers_of
from app.services.turns.drive import Drive
from app.services.turns.leases import ClaimLost, HeldClaim, LeaseKeeper
from app.services.turns.ledger import Ledger
from app.services.turns.research import Research
from app.services.turns.table_state import load_table
from app.services.unit_of_work import UnitOfWorkFactory

log = structlog.stdlib.get_logger(__name__)

# Past the other's lease by the coarseness of two clocks that tick apart.
LAPSE_MARGIN_SECONDS = 0.05
# Of one discussion by this worker's drivers, for errors of ours: a database that is away is none.
MOST_FAILURES, FAILURES_SECONDS = 3, 120.0
# Whoever takes the discussion up then sees what its workspace has set itself since.
LONGEST_DRIVE_SECONDS = 300.0


@dataclass
class TurnDriver:
    """Drives discussions of one worker process.

    `draining` is set when the process is to end, `others_wait` while jobs wait for a free slot: in both cases drivers
    give way after their turn.
    """

    uow: UnitOfWorkFactory
    turns: TurnRepository
    models: ModelCatalog
    live: LiveBus
    leases: LeaseKeeper
    settings: Settings
    owner: str
    research: Research | None = None
    toolboxes: Toolboxes | None = None
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    others_wait: bool = False
    _failures: TTLCache[UUID, int] = field(default_factory=lambda: TTLCache(maxsize=10_000, ttl=FAILURES_SECONDS))

    async def drive(self, discussion_id: UUID) -> None:
        """Take one turn after another until somebody else has the floor, the discussion ends, or others wait."""
        claim = await self._claim(discussion_id)
        if claim is None:
            return
        with self.leases.hold(claim) as held, structlog.contextvars.bound_contextvars(discussion_id=str(discussion_id)):
            try:
                await self._drive(held)
            except ClaimLost:
                log.info("claim_lost", epoch=claim.epoch)
            except Exception as error:
                if isinstance(error, Unavailable) or not self._keeps_failing(discussion_id):
                    await asyncio.shield(self.turns.release(claim))
                    raise
                log.exception("drive_given_up")
                await self._give_up(held)
            except BaseException:
                # Whoever comes next need not wait for the lease to lapse.
                await asyncio.shield(self.turns.release(claim))
                raise

    def _keeps_failing(self, discussion_id: UUID) -> bool:
        """Note an error of ours; whether the next try would be one too many."""
        self._failures[discussion_id] = self._failures.get(discussion_id, 0) + 1
        return self._failures[discussion_id] >= MOST_FAILURES

    async def _give_up(self, held: HeldClaim) -> None:
        """Pause the discussion, visibly: what failed thrice for a reason of ours would fail for ever."""
        async with self.uow(held.claim.workspace_id) as work:
            discussion = await work.discussions.get_for_update(held.claim.discussion_id)
            if discussion.epoch == held.claim.epoch:
                give_up(work, discussion)
        self._failures.pop(held.claim.discussion_id, None)

    async def _drive(self, held: HeldClaim) -> None:
        claim, began = held.claim, perf_counter()
        async with self.uow.reading(claim.workspace_id) as work:
            table = await load_table(work, claim.discussion_id, claim.clock_ahead)
        models = FollowedModels(self.models, claim.workspace_id, await self.models.of(claim.workspace_id))
        budget = self._budget(claim, table.created_by)
        lease_seconds = self.settings.worker.lease_seconds
        ledger = Ledger(self.uow, self.turns, self.live, lease_seconds, claim, table, budget)

        def must_give_way() -> bool:
            seconds = perf_counter() - began
            is_over = self.others_wait and seconds > self.settings.worker.worker_slice_seconds
            return self.draining.is_set() or is_over or seconds > LONGEST_DRIVE_SECONDS

        drive = Drive(
            table,
            ledger,
            held,
            models,
            self.live,
            attempts=self.settings.models.model_attempts,
            must_give_way=must_give_way,
            budget=budget,
            research=self.research,
            toolboxes=self.toolboxes,
            tool_settings=self.settings.tools,
        )
        await drive.run()

    def _budget(self, claim: Claim, created_by: UUID | None) -> TurnBudget | None:
        """None where no budget is set."""
        budgets = budgets_of(self.settings.budgets, claim.own_budget)
        if not are_set(budgets):
            return None
        return TurnBudget(self.uow, budgets, claim, payers_of(claim.workspace_id, created_by))

    async def _claim(self, discussion_id: UUID) -> Claim | None:
        """The claim, waiting once for another's lease to lapse; None if it is alive or nothing runs."""
        lease = self.settings.worker.lease_seconds
        claim = await self.turns.claim(discussion_id, self.owner, lease)
        if isinstance(claim, Held):
            await asyncio.sleep(claim.seconds_left + LAPSE_MARGIN_SECONDS)
            claim = await self.turns.claim(discussion_id, self.owner, lease)
        return None if isinstance(claim, Held) else claim
