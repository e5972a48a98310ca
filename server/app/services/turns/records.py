"""A finished turn as it is stored, and its message as the wire and the log show it."""

from datetime import datetime
from typing import Any

from app.core.clock import rfc3339
from app.domain.citations import NONE, Citations
from app.domain.policies import Spoken, TurnNote
from app.repositories.turns import TurnRecord, TurnState
from app.services.turns.speaking import Reply
from app.services.turns.table_state import AgentSeat


def record(
    opened: TurnState,
    finished_at: datetime,
    *,
    outcome: str,
    model: str | None,
    message: dict[str, Any] | None = None,
    error_code: str | None = None,
    reply: Reply | None = None,
) -> TurnRecord:
    """How the open turn went."""
    assert opened.speaker_id is not None
    assert opened.turn_message_id is not None
    return TurnRecord(
        turn=opened.turn + 1,
        attempt=opened.turn_attempt,
        participant_id=opened.speaker_id,
        message_id=opened.turn_message_id,
        outcome=outcome,
        reason=opened.speaker_reason or "",
        model=model,
        error_code=error_code,
        first_token_ms=reply.first_token_ms if reply else None,
        duration_ms=reply.duration_ms if reply else None,
        finished_at=finished_at,
        message=message,
    )


def note(opened: TurnState, agent: AgentSeat, outcome: str) -> TurnNote:
    """The turn as policies know it."""
    return TurnNote(opened.turn + 1, agent.counts_as, outcome)


def spoken(opened: TurnState, agent: AgentSeat, reply: Reply) -> Spoken:
    """The message as policies know it."""
    return Spoken(agent.participant_id, opened.turn + 1, reply.content)


def message_data(
    opened: TurnState, agent: AgentSeat, reply: Reply, at: datetime, citations: Citations = NONE
) -> dict[str, Any]:
    """The message; `seq` is set when its place is known."""
    return {
        "id": opened.turn_message_id,
        "seq": 0,
        "turn": opened.turn + 1,
        "attempt": opened.turn_attempt,
        "participant_id": opened.speaker_id,
        "handle": agent.speaker.handle,
        "name": agent.speaker.name,
        "kind": "llm",
        "content": reply.content,
        "status": "complete",
        "reply_to": None,
        "visible_to": None,
        "citations": citations.found,
        "dropped_citations": citations.dropped,
        "tools": list(reply.tools),
        "parsed": reply.parsed,
        "usage": {
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "cost_usd": reply.cost_usd,
        },
        "created_at": rfc3339(at),
    }
