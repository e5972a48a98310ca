"""How much of a kind anybody may ask for a minute.

A credential may do so much, its user twice that, one client address four times that, and a workspace what its
administrators set (`limits.requests_per_minute`).
"""

from collections.abc import Sequence
from uuid import UUID

from app.config import RateSettings
from app.core.errors import RateLimited
from app.core.rate_limit import Limit, RateLimiter, Verdict
from app.core.requests import RateClass
from app.services.callers import CurrentUser

OF_A_USER, OF_AN_ADDRESS = 2, 4


class RequestLimits:
    """Which limits there are, and what is left of them."""

    def __init__(self, limiter: RateLimiter, rates: RateSettings, *, is_on: bool) -> None:
        self._limiter = limiter
        self._is_on = is_on
        self._per_minute = {
            RateClass.READ: rates.rate_reads,
            RateClass.WRITE: rates.rate_writes,
            RateClass.AUTH: rates.rate_auth,
            RateClass.EXPENSIVE: rates.rate_expensive,
            RateClass.CONTROL: rates.rate_control,
        }

    def of_address(self, kind: RateClass, address: str) -> Limit:
        return Limit(f"{kind}-address", address, self._per_minute[kind] * OF_AN_ADDRESS)

    def of_caller(self, kind: RateClass, caller: CurrentUser, workspace_id: UUID | None) -> list[Limit]:
        """`workspace_id` None: the personal one."""
        amount = self._per_minute[kind]
        limits = [
            Limit(f"{kind}-user", caller.user.id.hex, amount * OF_A_USER),
            Limit(f"{kind}", caller.credential_id.hex, amount),
        ]
        return limits if kind is RateClass.CONTROL else limits + _of_workspace(caller, workspace_id)

    def recall(self, limit: Limit) -> Verdict | None:
        """That the limit refused a moment ago, and will still."""
        return self._limiter.recall(limit)

    async def hit(self, limits: Sequence[Limit]) -> Verdict | None:
        """Count a request against all of the limits, or none if one has no room; None: nobody could be asked."""
        return await self._limiter.hit(limits)

    async def count(self, kind: RateClass, caller: CurrentUser, workspace_id: UUID) -> None:
        """Count what comes in no request of its own; raise `RateLimited` if it is too much."""
        if not self._is_on:
            return
        verdict = await self.hit(self.of_caller(kind, caller, workspace_id))
        if verdict is not None and not verdict.may:
            raise RateLimited(refusal_of(verdict), retry_after_seconds=verdict.reset_seconds)


def refusal_of(verdict: Verdict) -> str:
    """What who asked too much is told."""
    limit = verdict.nearest
    return f"more than {limit.per_minute} requests a minute ({limit.name}); try again in {verdict.reset_seconds} s"


def _of_workspace(caller: CurrentUser, workspace_id: UUID | None) -> list[Limit]:
    return [
        Limit("workspace", workspace.id.hex, workspace.requests_per_minute)
        for workspace in caller.workspaces
        if (workspace.id == workspace_id or (workspace_id is None and workspace.is_personal))
        and workspace.requests_per_minute
    ]
