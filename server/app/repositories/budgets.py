"""What is spent of the budgets of a day, and what is set aside for running turns.

Always holds: while the rows of a scope in `daily_spending` are locked, nobody else sets anything aside in it, so what
is spent and set aside never exceeds the budget. Rows are locked in the order of `Scope`, after the discussion's own
row where that is locked too, and before its reservation. The day is the database's, in UTC; a turn is charged to the
day on which it was reserved.

A reservation counts as long as its discussion runs or waits, on its day and the one after: a discussion that is paused
or has ended sets nothing aside, whoever brought it there. One whose driver crashed keeps its room, also if it is paused
then, until the turn is taken again, since what the driver had shown will be charged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.domain.budgets import Scope
from app.domain.limits import Spending

Payers = Mapping[Scope, UUID]
"""Whose budgets a discussion draws on."""

_LOCK = text(
    """
    INSERT INTO daily_spending AS d (scope, scope_id, day)
    SELECT scope, scope_id, (clock_timestamp() AT TIME ZONE 'UTC')::date
    FROM unnest(CAST(:scopes AS text[]), CAST(:ids AS uuid[])) AS payer(scope, scope_id)
    ON CONFLICT (scope, scope_id, day) DO UPDATE SET tokens = d.tokens
    RETURNING scope, day, tokens, cost_usd
    """
)
_RESERVED = text("SELECT * FROM arena_reserved(:user_id, :workspace_id, CAST(:day AS date) - 1, CAST(:but AS uuid))")
_RESERVE = text(
    """
    INSERT INTO reservations (discussion_id, workspace_id, user_id, day, tokens, cost_usd)
    SELECT id, workspace_id, CAST(:user_id AS uuid), CAST(:day AS date), CAST(:tokens AS bigint),
           CAST(:cost_usd AS numeric)
    FROM discussions WHERE id = :discussion_id AND epoch = :epoch
    ON CONFLICT (discussion_id) DO UPDATE SET user_id = excluded.user_id, day = excluded.day,
        tokens = excluded.tokens, cost_usd = excluded.cost_usd
    RETURNING discussion_id
    """
)
_CHARGE = text(
    """
    INSERT INTO daily_spending AS d (scope, scope_id, day, tokens, cost_usd)
    SELECT scope, scope_id,
           coalesce((SELECT day FROM reservations WHERE discussion_id = :discussion_id),
                    (clock_timestamp() AT TIME ZONE 'UTC')::date),
           CAST(:tokens AS bigint), CAST(:cost_usd AS numeric)
    FROM unnest(CAST(:scopes AS text[]), CAST(:ids AS uuid[])) AS payer(scope, scope_id)
    ON CONFLICT (scope, scope_id, day) DO UPDATE
        SET tokens = d.tokens + excluded.tokens, cost_usd = d.cost_usd + excluded.cost_usd
    """
)
_CHARGE_ON = text(
    """
    INSERT INTO daily_spending AS d (scope, scope_id, day, tokens, cost_usd)
    SELECT scope, scope_id, CAST(:day AS date), CAST(:tokens AS bigint), CAST(:cost_usd AS numeric)
    FROM unnest(CAST(:scopes AS text[]), CAST(:ids AS uuid[])) AS payer(scope, scope_id)
    ON CONFLICT (scope, scope_id, day) DO UPDATE
        SET tokens = d.tokens + excluded.tokens, cost_usd = d.cost_usd + excluded.cost_usd
    """
)
_RESERVED_BY = text("SELECT tokens, cost_usd FROM reservations WHERE discussion_id = :discussion_id")
_KEEP = text(
    "UPDATE reservations SET tokens = :tokens, cost_usd = CAST(:cost_usd AS numeric) "
    "WHERE discussion_id = :discussion_id"
)
_RELEASE = text("DELETE FROM reservations WHERE discussion_id = :discussion_id")
_RELEASE_IDLE = text("SELECT arena_release_idle(:grace, :limit)")
_TODAY = text(
    """
    SELECT today.day, d.scope, d.tokens, d.cost_usd
    FROM (SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS day) AS today
    LEFT JOIN daily_spending d ON d.day = today.day
         AND ((d.scope = 'user' AND d.scope_id = :user_id) OR (d.scope = 'workspace' AND d.scope_id = :workspace_id))
    """
)


@dataclass(frozen=True, slots=True)
class Day:
    """What each scope has spent on a day; a scope that is missing has spent nothing."""

    day: date
    spent: Mapping[Scope, Spending]


class BudgetRepository:
    """All statements take part in the caller's transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self, payers: Payers) -> Day:
        """Today's spending, locked until the transaction ends."""
        rows = (await self._session.execute(_LOCK, _who(payers))).all()
        return Day(rows[0].day, {Scope(row.scope): _spending(row.tokens, row.cost_usd) for row in rows})

    async def today(self, payers: Payers) -> Day:
        """Today's spending as it is, locking nothing."""
        values = {"user_id": payers.get(Scope.USER), "workspace_id": payers.get(Scope.WORKSPACE)}
        rows = (await self._session.execute(_TODAY, values)).all()
        return Day(rows[0].day, {Scope(row.scope): _spending(row.tokens, row.cost_usd) for row in rows if row.scope})

    async def reserved(self, payers: Payers, day: date, *, but: UUID | None = None) -> dict[Scope, Spending]:
        """What is set aside on that day or the one before, in each scope, `but` that discussion's."""
        values = {
            "user_id": payers.get(Scope.USER),
            "workspace_id": payers.get(Scope.WORKSPACE),
            "day": day,
            "but": but,
        }
        row = (await self._session.execute(_RESERVED, values)).one()
        return {
            Scope.USER: _spending(row.user_tokens, row.user_usd),
            Scope.WORKSPACE: _spending(row.workspace_tokens, row.workspace_usd),
        }

    async def reserve(self, discussion_id: UUID, epoch: int, payers: Payers, day: date, worst_case: Spending) -> bool:
        """Set aside the worst case of a turn in place of what the discussion had; False if its claim is lost."""
        values = {
            "discussion_id": discussion_id,
            "epoch": epoch,
            "user_id": payers.get(Scope.USER),
            "day": day,
            "tokens": worst_case.tokens,
            "cost_usd": _exact(worst_case.cost_usd),
        }
        return (await self._session.execute(_RESERVE, values)).scalar_one_or_none() is not None

    async def reserved_by(self, discussion_id: UUID) -> Spending | None:
        """What the discussion has set aside, None if nothing."""
        row = (await self._session.execute(_RESERVED_BY, {"discussion_id": discussion_id})).one_or_none()
        return _spending(row.tokens, row.cost_usd) if row is not None else None

    async def settle(self, discussion_id: UUID, payers: Payers, spent: Spending, rest: Spending | None) -> None:
        """Charge what was spent, and give back what was set aside, but for the `rest`; None: give nothing back."""
        if spent.tokens or spent.cost_usd:
            values = {"discussion_id": discussion_id, "tokens": spent.tokens, "cost_usd": _exact(spent.cost_usd)}
            await self._session.execute(_CHARGE, values | _who(payers))
        if rest is None:
            return
        if rest.tokens:
            values = {"discussion_id": discussion_id, "tokens": rest.tokens, "cost_usd": _exact(rest.cost_usd)}
            await self._session.execute(_KEEP, values)
        else:
            await self._session.execute(_RELEASE, {"discussion_id": discussion_id})

    async def charge(self, payers: Payers, day: date, spent: Spending) -> None:
        """Add to what was spent that day outside any discussion's turns; less than nothing gives back."""
        values = {"day": day, "tokens": spent.tokens, "cost_usd": _exact(spent.cost_usd)}
        await self._session.execute(_CHARGE_ON, values | _who(payers))

    async def release_idle(self, grace_seconds: float, limit: int) -> None:
        """Forget what was set aside by discussions that have rested for a while; it counts for nothing already."""
        await self._session.execute(_RELEASE_IDLE, {"grace": grace_seconds, "limit": limit})


def _who(payers: Payers) -> dict[str, Sequence[Any]]:
    in_order = [scope for scope in Scope if scope in payers]
    return {"scopes": [scope.value for scope in in_order], "ids": [payers[scope] for scope in in_order]}


def _spending(tokens: int, cost_usd: Decimal) -> Spending:
    return Spending(tokens=tokens, cost_usd=float(cost_usd))


def _exact(cost_usd: float) -> Decimal:
    return Decimal(str(round(cost_usd, 8)))
