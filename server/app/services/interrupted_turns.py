"""A turn that was cut: its message holds exactly what viewers were shown, and is charged for as well as can be told."""

from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

from app.config import BudgetSettings
from app.core.clock import utc_now
from app.domain import events
from app.domain.budgets import budget_within
from app.domain.context import estimate_tokens
from app.domain.limits import Left, Spending
from app.domain.speech import Speech
from app.domain.usage import Used
from app.models import Discussion, Message, Participant
from app.services.ai_models import ModelCatalog, WorkspaceModels
from app.services.discussion_flow import close_turn
from app.services.discussion_views import read_message
from app.services.turns.budget import are_set, budgets_of, payers_of
from app.services.turns.requests import TurnRequests
from app.services.turns.table_state import TableState, load_table
from app.services.unit_of_work import UnitOfWork


class InterruptedTurns:
    """Keeps what was shown of turns that a command cut."""

    def __init__(self, models: ModelCatalog, budgets: BudgetSettings) -> None:
        self._models = models
        self._budgets = budgets

    async def models_of(self, workspace_id: UUID) -> WorkspaceModels:
        """What `keep` needs, which holds a transaction open and must not wait for another."""
        return await self._models.of(workspace_id)

    async def keep(
        self,
        work: UnitOfWork,
        discussion: Discussion,
        participants: Sequence[Participant],
        shown: Speech,
        models: WorkspaceModels,
    ) -> None:
        """Record the open turn of the locked discussion with an `interrupted` message, and charge for it."""
        table = await load_table(work, discussion.id)
        own = budget_within(await work.workspaces.limits_of(discussion.workspace_id))
        keeps_budgets = are_set(budgets_of(self._budgets, own))
        agent = table.agents.get(discussion.speaker_id) if discussion.speaker_id else None
        took = Used(completion_tokens=estimate_tokens(shown.content))
        if agent is not None:
            left = await _left(work, discussion, table, keeps_budgets=keeps_budgets)
            took = TurnRequests(table, models).cut(agent, shown.content, left)
        speaker = next(seat for seat in participants if seat.id == discussion.speaker_id)
        message = _interrupted_message(discussion, speaker, shown, took)
        work.messages.add(message)
        close_turn(work, discussion, speaker, "interrupted", message.id, discussion.turn_attempt)
        work.log.append(discussion, events.message_completed(read_message(message).model_dump(mode="json")))
        _charge(discussion, took)
        if keeps_budgets:
            spent = Spending(tokens=took.prompt_tokens + took.completion_tokens, cost_usd=took.cost_usd)
            payers = payers_of(discussion.workspace_id, discussion.created_by)
            await work.budgets.settle(discussion.id, payers, spent, Spending())


async def _left(work: UnitOfWork, discussion: Discussion, table: TableState, *, keeps_budgets: bool) -> Left | None:
    """What the attempt that was cut could use at most."""
    left = table.left(table.state)
    reserved = await work.budgets.reserved_by(discussion.id) if keeps_budgets else None
    return Left(reserved.tokens, reserved.cost_usd).within(left) if reserved is not None else left


def _charge(discussion: Discussion, took: Used) -> None:
    discussion.prompt_tokens += took.prompt_tokens
    discussion.completion_tokens += took.completion_tokens
    discussion.cost_usd += _exact(took)


def _exact(took: Used) -> Decimal:
    return Decimal(str(round(took.cost_usd, 8)))


def _interrupted_message(discussion: Discussion, speaker: Participant, shown: Speech, took: Used) -> Message:
    return Message(
        id=discussion.turn_message_id,
        workspace_id=discussion.workspace_id,
        discussion_id=discussion.id,
        seq=discussion.last_seq + 1,
        turn=discussion.turn + 1,
        attempt=discussion.turn_attempt,
        participant_id=speaker.id,
        handle=speaker.handle,
        name=speaker.name,
        kind=speaker.kind,
        content=shown.content,
        tools=shown.calls() or None,
        status="interrupted",
        prompt_tokens=took.prompt_tokens,
        completion_tokens=took.completion_tokens,
        cost_usd=_exact(took),
        created_at=utc_now(),
    )
