"""Steps of a discussion under a driver: from one state to the next, with the events that say so. Without I/O."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from app.core.clock import rfc3339
from app.core.ids import new_id
from app.domain import events
from app.domain.budgets import anew_after_pause
from app.domain.discussion import Step, advance
from app.domain.endings import Ending
from app.domain.events import NextSpeaker
from app.domain.progress import Floor
from app.domain.usage import Took
from app.repositories.turns import TurnState
from app.services.turns.ledger import Decision
from app.services.turns.table_state import TableState


def charged(state: TurnState, took: Took) -> TurnState:
    """With what was used added to what the discussion has used."""
    return replace(
        state,
        prompt_tokens=state.prompt_tokens + took.prompt_tokens,
        completion_tokens=state.completion_tokens + took.completion_tokens,
        cost_usd=state.cost_usd + took.cost_usd,
    )


def turn_over(opened: TurnState, last_speaker_id: UUID | None, **changes: Any) -> TurnState:
    """The open turn's number is used up; nobody has the floor yet."""
    return without_floor(opened, turn=opened.turn + 1, last_speaker_id=last_speaker_id, **changes)


def without_floor(state: TurnState, **changes: Any) -> TurnState:
    """Nobody has the floor and no turn is open. Copying a state takes microseconds, so `changes` come with it."""
    return replace(
        state,
        speaker_id=None,
        speaker_reason=None,
        turn_message_id=None,
        turn_attempt=0,
        turn_epoch=0,
        floor_id=None,
        deadline_at=None,
        **changes,
    )


def ended(state: TurnState, ending: Ending) -> Decision:
    status = advance(state.status, Step.END)
    over = without_floor(state, status=status, end_reason=ending.reason, pause_requested=False)
    return Decision(over, [events.discussion_ended(ending.reason, ending.detail)])


def paused(state: TurnState, following: NextSpeaker | None, reason: str, step: Step = Step.PAUSE) -> Decision:
    """Nothing runs until somebody resumes; a turn that is open stays so."""
    wrap_up = anew_after_pause(state.wrap_up)
    still = replace(state, status=advance(state.status, step), pause_requested=False, wrap_up=wrap_up)
    return Decision(still, [events.discussion_paused(following, reason)])


def give_floor(table: TableState, state: TurnState, floor: Floor, epoch: int, *, is_last: bool = False) -> Decision:
    """Begin the speaker's turn, or wait for a person or an external agent.

    `epoch` 0 leaves the turn announced for the next driver to begin.
    """
    given = without_floor(state, policy_state=floor.state)
    speaker = floor.speaker
    if speaker is None:
        given.wrap_up = None  # no turn has begun: whether it is the last one is told when somebody is chosen
        return _wait(table, given, None, "human")
    given.speaker_id, given.speaker_reason = speaker.participant_id, speaker.reason
    seat = table.rules.seat(speaker.participant_id)
    if seat is not None and seat.needs_waiting:
        return _wait(table, given, speaker, seat.kind, is_last=is_last)
    given.turn_message_id, given.turn_attempt, given.turn_epoch = new_id(), 1, epoch
    started = events.turn_started(
        given.turn + 1, 1, speaker, given.turn_message_id, policy_state=floor.state, is_last=is_last
    )
    return Decision(given, [started], gives_way=epoch == 0)


def _wait(
    table: TableState, given: TurnState, speaker: NextSpeaker | None, kind: str, *, is_last: bool = False
) -> Decision:
    """Wait for the speaker, or for a human to choose one."""
    given.status = advance(given.status, Step.WAIT)
    given.floor_id = new_id()
    seconds = table.waiting.get(f"{kind}_seconds")
    given.deadline_at = table.rules.limits.deadline(table.now(), seconds, table.started_at)
    deadline = rfc3339(given.deadline_at) if given.deadline_at else None
    waiting = events.discussion_waiting(speaker, deadline, given.policy_state, is_last=is_last)
    return Decision(given, [waiting])
