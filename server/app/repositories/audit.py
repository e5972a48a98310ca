"""The audit log: added to in the transaction of the deed, so that neither is ever there without the other."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import utc_now
from app.core.cursors import decode_id, encode_cursor
from app.core.ids import first_id_at, new_id
from app.core.request_context import current_origin
from app.domain.audit import Action, AuditFilter, Detail, Doer, Outcome
from app.models import AuditEvent

LIST = "audit_events"
# Of failed logins: more of them in a minute say nothing new, and must not fill the disk.
FAILURES_SECONDS = 60.0
APART_MILLISECONDS = 1_000
"""By which the making of an id and the moment that is written beside it may differ."""
MOST_FAILURES_ALIKE, MOST_FAILURES = 10, 100
_RECORD_FAILURE = text(
    """
    INSERT INTO audit_events (id, created_at, action, outcome, user_id, target_type, address, request_id, detail)
    SELECT CAST(:id AS uuid), CAST(:at AS timestamptz), CAST(:action AS text), CAST(:outcome AS text),
           CAST(:user_id AS uuid), CAST(:target_type AS text), CAST(:address AS text), CAST(:request_id AS text),
           jsonb_build_object('reason', CAST(:reason AS text)) ||
           CASE WHEN greatest(recent.there, recent.of_account) >= :most_alike - 1 OR recent.in_all >= :most - 1
                THEN '{"more_go_unrecorded": true}'::jsonb ELSE '{}'::jsonb END
    FROM (
        SELECT count(*) AS in_all,
               count(*) FILTER (WHERE address = CAST(:address AS text)) AS there,
               count(*) FILTER (WHERE user_id = CAST(:user_id AS uuid)) AS of_account
        FROM audit_events WHERE id >= CAST(:since AS uuid) AND action = CAST(:action AS text)
    ) AS recent
    WHERE greatest(recent.there, recent.of_account) < :most_alike AND recent.in_all < :most
    """
)


class AuditRepository:
    """Not scoped by a workspace: a deed may concern none, or be looked for in all."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def record(
        self,
        action: Action,
        by: Doer,
        target_id: UUID | None = None,
        *,
        outcome: Outcome = Outcome.SUCCEEDED,
        **detail: Detail,
    ) -> None:
        """Tell the log, if and when the caller's transaction commits; the request says from where it was done."""
        origin = current_origin()
        event = AuditEvent(
            id=new_id(),
            created_at=utc_now(),
            action=action,
            outcome=outcome,
            user_id=by.user_id,
            credential_id=by.credential_id,
            workspace_id=by.workspace_id,
            target_type=action.target_type,
            target_id=target_id,
            address=origin.address,
            request_id=origin.request_id,
            detail=detail,
        )
        self._session.add(event)

    async def record_failed_login(self, user_id: UUID | None, reason: str) -> None:
        """Tell of a failed login, `user_id` being whose if there is such an account; `reason` is an error's `code`.

        In any minute at most `MOST_FAILURES_ALIKE` of an address and of an account, and `MOST_FAILURES` of all, are
        told of; the last of them says so.
        """
        now, origin = utc_now(), current_origin()
        values = {
            "id": new_id(),
            "at": now,
            "since": first_id_at(now - timedelta(seconds=FAILURES_SECONDS)),
            "action": Action.LOGIN_FAILED,
            "outcome": Outcome.FAILED,
            "target_type": Action.LOGIN_FAILED.target_type,
            "user_id": user_id,
            "address": origin.address,
            "request_id": origin.request_id,
            "reason": reason,
            "most_alike": MOST_FAILURES_ALIKE,
            "most": MOST_FAILURES,
        }
        await self._session.execute(_RECORD_FAILURE, values)

    async def count_failed(self, action: Action, user_id: UUID, since: datetime) -> int:
        """How often the person has tried it in vain since then."""
        query = select(func.count()).where(
            AuditEvent.user_id == user_id,
            AuditEvent.id >= first_id_at(since),
            AuditEvent.action == action,
            AuditEvent.outcome == Outcome.FAILED,
        )
        return await self._session.scalar(query) or 0

    async def list_page(
        self, wanted: AuditFilter, limit: int, cursor: str | None
    ) -> tuple[list[AuditEvent], str | None]:
        """Newest first."""
        query = select(AuditEvent).where(*_matching(wanted))
        if cursor is not None:
            query = query.where(AuditEvent.id < decode_id(cursor, LIST))
        rows = list(await self._session.scalars(query.order_by(AuditEvent.id.desc()).limit(limit + 1)))
        if len(rows) <= limit:
            return rows, None
        return rows[:limit], encode_cursor(LIST, rows[limit - 1].id)

    async def list_after(self, wanted: AuditFilter, after: UUID | None, limit: int) -> Sequence[AuditEvent]:
        """Oldest first, from behind an event."""
        query = select(AuditEvent).where(*_matching(wanted))
        if after is not None:
            query = query.where(AuditEvent.id > after)
        return (await self._session.scalars(query.order_by(AuditEvent.id).limit(limit))).all()


def _matching(wanted: AuditFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.action is not None:
        conditions.append(AuditEvent.action == wanted.action)
    if wanted.user_id is not None:
        conditions.append(AuditEvent.user_id == wanted.user_id)
    if wanted.workspace_id is not None:
        conditions.append(AuditEvent.workspace_id == wanted.workspace_id)
    # An id tells when it was made, which is not the very moment of the deed: so the key's index finds about the time,
    # and the column what is meant.
    if wanted.since is not None:
        conditions += [AuditEvent.id >= _id_about(wanted.since, -1), AuditEvent.created_at >= wanted.since]
    if wanted.until is not None:
        conditions += [AuditEvent.id < _id_about(wanted.until, 1), AuditEvent.created_at < wanted.until]
    return conditions


def _id_about(moment: datetime, times: int) -> UUID:
    """The first of a time that is `APART_MILLISECONDS` before or after."""
    return UUID(int=max(0, first_id_at(moment).int + times * (APART_MILLISECONDS << 80)))
