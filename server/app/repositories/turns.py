"""Turn claims and turn commits: at most one live claim per discussion, fenced by its epoch.

Always holds: every write of a driver carries `epoch = mine` and `last_seq = what I knew`. A driver that was taken
over writes nothing; one that missed somebody's words is told so, reads them and decides again. A crash leaves the
row with the old epoch and a lease that lapses; the open turn is in the row, so the next driver knows what to redo.
Each statement here is its own transaction, unless it joins the caller's.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.core.clock import steady_now
from app.core.database import scope_to
from app.domain.budgets import budget_within
from app.domain.events import StoredEvent
from app.domain.limits import UNLIMITED, Left
from app.repositories.base import telling_outages
from app.repositories.event_log import as_json
from app.repositories.jobs import GivenFloor

LEAST_DIFFERENCE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to drive a discussion until another epoch comes.

    `clock_ahead` is how far the database's clock is ahead of this process's: deadlines are kept by the database's.
    `own_budget` is what the workspace has set itself for a day, as it was when the claim was made.
    """

    discussion_id: UUID
    workspace_id: UUID
    epoch: int
    clock_ahead: timedelta = timedelta(0)
    own_budget: Left = UNLIMITED


@dataclass(slots=True)
class TurnState:
    """The part of a discussion's row that its driver writes."""

    status: str
    end_reason: str | None
    turn: int
    last_seq: int
    speaker_id: UUID | None
    speaker_reason: str | None
    last_speaker_id: UUID | None
    turn_message_id: UUID | None
    turn_attempt: int
    turn_epoch: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    policy_state: Mapping[str, Any] | None = None
    pause_requested: bool = False
    floor_id: UUID | None = None
    deadline_at: datetime | None = None
    wrap_up: str | None = None
    warned: tuple[str, ...] = ()
    failed_in_a_row: int = 0


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """A finished turn, and the message it brought unless it failed."""

    turn: int
    attempt: int
    participant_id: UUID
    message_id: UUID
    outcome: str
    reason: str
    model: str | None
    error_code: str | None
    first_token_ms: float | None
    duration_ms: float | None
    finished_at: datetime
    message: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody else's live claim lapses in that many seconds if it is not renewed."""

    epoch: int
    seconds_left: float


# What looks across workspaces is a function of the database's (migration 0005): here no row of another can be seen.
_CLAIM = text("SELECT * FROM arena_claim(:id, :owner, :lease)")
_HELD = text("SELECT * FROM arena_held(:id)")
_RENEW = text("SELECT * FROM arena_renew(CAST(:ids AS uuid[]), CAST(:epochs AS bigint[]), :lease)")
_RELEASE = text("UPDATE discussions SET lease_until = NULL, lease_owner = NULL WHERE id = :id AND epoch = :epoch")
_POSITION = text("SELECT last_seq FROM discussions WHERE id = :id AND epoch = :epoch")
_ABANDONED = text("SELECT * FROM arena_abandoned(:grace, :limit)")
_OVERDUE = text("SELECT * FROM arena_overdue(:limit)")
_SAVE = """
    WITH saved AS (
        UPDATE discussions SET
            status = :status, end_reason = :end_reason, turn = :turn, last_seq = :last_seq,
            speaker_id = :speaker_id, speaker_reason = :speaker_reason, last_speaker_id = :last_speaker_id,
            turn_message_id = :turn_message_id, turn_attempt = :turn_attempt, turn_epoch = :turn_epoch,
            prompt_tokens = :prompt_tokens, completion_tokens = :completion_tokens, cost_usd = :cost_usd,
            policy_state = CAST(:policy_state AS jsonb), pause_requested = :pause_requested,
            floor_id = CAST(:floor_id AS uuid), wrap_up = :wrap_up, warned = CAST(:warned AS text[]),
            failed_in_a_row = :failed_in_a_row,
            deadline_at = CAST(:deadline_at AS timestamptz),
            lease_until = CASE WHEN :keep THEN now() + make_interval(secs => :lease) END, updated_at = now()
        WHERE id = :id AND epoch = :epoch AND last_seq = :known_seq
        RETURNING id, workspace_id
    ), logged AS (
        INSERT INTO discussion_events (discussion_id, workspace_id, seq, type, payload, created_at, visible_to)
        SELECT saved.id, saved.workspace_id, e.seq, e.type, e.payload, e.created_at, e.visible_to
        FROM saved, json_to_recordset(CAST(:events AS json))
                    AS e(seq int, type text, payload json, created_at timestamptz, visible_to uuid[])
    )"""
_SAVE_TURN = """, done AS (
        INSERT INTO turns (discussion_id, workspace_id, turn, attempt, participant_id, message_id, outcome, reason,
                           model, error_code, first_token_ms, duration_ms, finished_at)
        SELECT saved.id, saved.workspace_id, :t_turn, :t_attempt, CAST(:t_participant_id AS uuid),
               CAST(:t_message_id AS uuid), :t_outcome, :t_reason, :t_model, :t_error_code,
               CAST(:t_first_token_ms AS float8), CAST(:t_duration_ms AS float8), CAST(:t_finished_at AS timestamptz)
        FROM saved
    )"""
_SAVE_MESSAGE = """, said AS (
        INSERT INTO messages (id, discussion_id, workspace_id, seq, turn, attempt, participant_id, handle, name, kind,
                              content, status, prompt_tokens, completion_tokens, cost_usd, created_at,
                              citations, dropped_citations, tools, parsed)
        SELECT CAST(:t_message_id AS uuid), saved.id, saved.workspace_id, :m_seq, :t_turn, :t_attempt,
               CAST(:t_participant_id AS uuid), :m_handle, :m_name, :m_kind, :m_content, :m_status,
               CAST(:m_prompt_tokens AS int), CAST(:m_completion_tokens AS int), CAST(:m_cost_usd AS numeric),
               CAST(:t_finished_at AS timestamptz), CAST(:m_citations AS jsonb), :m_dropped_citations,
               CAST(:m_tools AS jsonb), CAST(:m_parsed AS jsonb)
        FROM saved
    )"""
_SELECT = " SELECT id FROM saved"
_SAVE_STATE = text(_SAVE + _SELECT)
_SAVE_FAILED_TURN = text(_SAVE + _SAVE_TURN + _SELECT)
_SAVE_SPOKEN_TURN = text(_SAVE + _SAVE_TURN + _SAVE_MESSAGE + _SELECT)


class TurnRepository:
    """What a driver reads and writes, outside any unit of work."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def _connect(self, workspace_id: UUID | None = None) -> AsyncIterator[AsyncConnection]:
        with telling_outages():
            async with self._engine.connect() as connection:
                await scope_to(connection, workspace_id)
                yield connection

    async def claim(self, discussion_id: UUID, owner: str, lease_seconds: float) -> Claim | Held | None:
        """Take the discussion; `Held` if another has it, None if it does not run."""
        async with self._connect() as connection:
            values = {"id": discussion_id, "owner": owner, "lease": lease_seconds}
            row = (await connection.execute(_CLAIM, values)).one_or_none()
            if row is not None:
                own = budget_within(row.limits or {})
                return Claim(row.id, row.workspace_id, row.epoch, _ahead(row.now), own)
            row = (await connection.execute(_HELD, {"id": discussion_id})).one_or_none()
            return Held(row.epoch, max(0.0, row.seconds_left)) if row else None

    async def renew(self, claims: Sequence[Claim], lease_seconds: float) -> dict[UUID, bool]:
        """Extend the leases; those that are still ours come back, with whether a pause is wanted."""
        values = {
            "ids": [claim.discussion_id for claim in claims],
            "epochs": [claim.epoch for claim in claims],
            "lease": lease_seconds,
        }
        async with self._connect() as connection:
            return {row.id: row.pause_requested for row in await connection.execute(_RENEW, values)}

    async def release(self, claim: Claim) -> None:
        """Let the next driver in at once."""
        async with self._connect(claim.workspace_id) as connection:
            await connection.execute(_RELEASE, {"id": claim.discussion_id, "epoch": claim.epoch})

    async def last_seq(self, claim: Claim) -> int | None:
        """The log's end, or None if the claim is lost."""
        async with self._connect(claim.workspace_id) as connection:
            values = {"id": claim.discussion_id, "epoch": claim.epoch}
            return (await connection.execute(_POSITION, values)).scalar_one_or_none()

    async def abandoned(self, grace_seconds: float, limit: int) -> list[tuple[UUID, str]]:
        """Running discussions that nobody drives and no job waits for, with their priorities."""
        async with self._connect() as connection:
            rows = await connection.execute(_ABANDONED, {"grace": grace_seconds, "limit": limit})
            return [(row.id, row.priority) for row in rows]

    async def overdue(self, limit: int) -> list[GivenFloor]:
        """Floors whose deadline has passed by the database's clock, the longest overdue first."""
        async with self._connect() as connection:
            rows = await connection.execute(_OVERDUE, {"limit": limit})
            return [GivenFloor(row.workspace_id, row.id, row.floor_id) for row in rows]

    async def save(
        self,
        claim: Claim,
        known_seq: int,
        state: TurnState,
        events: Sequence[StoredEvent],
        record: TurnRecord | None,
        *,
        keep_lease_seconds: float | None,
        connection: AsyncConnection | None = None,
    ) -> bool:
        """Write state, events, turn and message together; False if the epoch or `known_seq` is no longer right.

        With `keep_lease_seconds` None the claim is given back in the same statement. `connection` joins a
        transaction of the caller's.
        """
        statement = _SAVE_STATE
        values = _state_values(claim, known_seq, state, events, keep_lease_seconds)
        if record is not None:
            statement = _SAVE_FAILED_TURN if record.message is None else _SAVE_SPOKEN_TURN
            values |= _record_values(record)
        if connection is not None:
            return (await connection.execute(statement, values)).scalar_one_or_none() is not None
        async with self._connect(claim.workspace_id) as own:
            return (await own.execute(statement, values)).scalar_one_or_none() is not None


def _ahead(database_now: datetime) -> timedelta:
    """The difference of the two clocks; what may be the way there and back counts as none."""
    ahead = database_now - steady_now()
    return ahead if abs(ahead) > LEAST_DIFFERENCE else timedelta(0)


def _state_values(
    claim: Claim, known_seq: int, state: TurnState, events: Sequence[StoredEvent], keep_lease_seconds: float | None
) -> dict[str, Any]:
    return {
        "id": claim.discussion_id,
        "epoch": claim.epoch,
        "known_seq": known_seq,
        "keep": keep_lease_seconds is not None,
        "lease": keep_lease_seconds or 0.0,
        "status": state.status,
        "end_reason": state.end_reason,
        "turn": state.turn,
        "last_seq": state.last_seq,
        "speaker_id": state.speaker_id,
        "speaker_reason": state.speaker_reason,
        "last_speaker_id": state.last_speaker_id,
        "turn_message_id": state.turn_message_id,
        "turn_attempt": state.turn_attempt,
        "turn_epoch": state.turn_epoch,
        "prompt_tokens": state.prompt_tokens,
        "completion_tokens": state.completion_tokens,
        "cost_usd": Decimal(str(state.cost_usd)),
        "policy_state": None if state.policy_state is None else orjson.dumps(state.policy_state).decode(),
        "pause_requested": state.pause_requested,
        "floor_id": state.floor_id,
        "wrap_up": state.wrap_up,
        "warned": "{" + ",".join(state.warned) + "}",
        "failed_in_a_row": state.failed_in_a_row,
        "deadline_at": state.deadline_at,
        "events": as_json(events),
    }


def _record_values(record: TurnRecord) -> dict[str, Any]:
    values: dict[str, Any] = {
        "t_turn": record.turn,
        "t_attempt": record.attempt,
        "t_participant_id": record.participant_id,
        "t_message_id": record.message_id,
        "t_outcome": record.outcome,
        "t_reason": record.reason,
        "t_model": record.model,
        "t_error_code": record.error_code,
        "t_first_token_ms": record.first_token_ms,
        "t_duration_ms": record.duration_ms,
        "t_finished_at": record.finished_at,
    }
    if record.message is not None:
        usage = record.message["usage"]
        values |= {
            "m_seq": record.message["seq"],
            "m_handle": record.message["handle"],
            "m_name": record.message["name"],
            "m_kind": record.message["kind"],
            "m_content": record.message["content"],
            "m_status": record.message["status"],
            "m_prompt_tokens": usage["prompt_tokens"],
            "m_completion_tokens": usage["completion_tokens"],
            "m_cost_usd": Decimal(str(usage["cost_usd"])),
            "m_citations": _as_jsonb(record.message["citations"]),
            "m_tools": _as_jsonb(record.message["tools"]),
            "m_parsed": _as_jsonb(record.message["parsed"], empty="[]"),
            "m_dropped_citations": record.message["dropped_citations"],
        }
    return values


def _as_jsonb(value: Any, empty: str | None = None) -> str | None:
    """Null for nothing, and `empty` for an empty list."""
    if value == []:
        return empty
    return orjson.dumps(value).decode() if value is not None else None
