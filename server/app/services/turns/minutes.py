"""Sees to it that a long discussion is summarised before prompts lose sight of its beginning."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from app.domain.summaries import is_due
from app.repositories.jobs import ASSISTANT_QUEUE, SUMMARISE_TASK
from app.repositories.turns import Claim
from app.services.ai_models import FollowedModels, UnknownModel
from app.services.prompts import PROMPT_MARGIN_TOKENS
from app.services.turns.table_state import AgentSeat, TableState
from app.services.unit_of_work import UnitOfWorkFactory

WINDOW_SHARE = 0.75
"""Of what a prompt may hold; the rest is for persona, topic and documents."""

NO_WINDOW = 2**31


@dataclass(slots=True)
class Minutes:
    """Asks for summaries of one driver's discussion. No turn waits for one."""

    uow: UnitOfWorkFactory
    claim: Claim
    table: TableState
    models: FollowedModels
    _window: tuple[Mapping[UUID, AgentSeat], int] | None = None

    async def keep(self) -> None:
        """Queue the job if it is due; while nothing is, this costs a comparison or two."""
        table = self.table
        window = self._window_tokens()
        if not is_due(table.transcript_tokens, table.unsummarised_tokens, window):
            return
        async with self.uow(self.claim.workspace_id) as work:
            await work.jobs.defer_once(
                SUMMARISE_TASK,
                ASSISTANT_QUEUE,
                f"summary:{self.claim.discussion_id}",
                workspace_id=str(self.claim.workspace_id),
                discussion_id=str(self.claim.discussion_id),
                least_tokens=window // 2,
            )
        table.unsummarised_tokens = 0

    def _window_tokens(self) -> int:
        """What the smallest window at the table holds."""
        agents = self.table.agents
        if self._window is None or self._window[0] is not agents:
            windows = [size for size in map(self._window_of, agents.values()) if size is not None]
            self._window = agents, min(windows, default=NO_WINDOW)
        return self._window[1]

    def _window_of(self, agent: AgentSeat) -> int | None:
        """None where there is no such model."""
        with suppress(UnknownModel):
            context = self.models.get(agent.models[0]).context_tokens
            reply = min(agent.config.params.max_tokens, context // 2)
            return int((context - reply - PROMPT_MARGIN_TOKENS) * WINDOW_SHARE)
        return None
