"""Leases of a worker's claims, renewed together once a second."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog

from app.core.errors import ArenaError, Unavailable
from app.repositories.turns import Claim, TurnRepository

log = structlog.stdlib.get_logger(__name__)


class ClaimLost(Exception):
    """Another epoch has the discussion: write nothing and stop."""


class PausedBetweenAttempts(Exception):
    """A pause was asked for while nobody was speaking.

    `error` is what the last attempt failed with, None if that is logged already or there was none.
    """

    def __init__(self, error: ArenaError | None = None) -> None:
        super().__init__(error.code if error else "not begun")
        self.error = error


class HeldClaim:
    """A claim in use; `lost` is set once it is known to be another's, `disturbed` then and when a pause is wanted."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.lost = asyncio.Event()
        self.disturbed = asyncio.Event()

    async def rest(self, seconds: float) -> bool:
        """Wait that long; False as soon as a pause is wanted, `ClaimLost` as soon as the claim is another's."""
        try:
            async with asyncio.timeout(seconds):
                await self.disturbed.wait()
        except TimeoutError:
            return True
        if self.lost.is_set():
            raise ClaimLost
        return False


class LeaseKeeper:
    """Renews every held claim in one statement."""

    def __init__(self, turns: TurnRepository, lease_seconds: float) -> None:
        self._turns = turns
        self._lease_seconds = lease_seconds
        self._held: dict[UUID, HeldClaim] = {}

    @contextmanager
    def hold(self, claim: Claim) -> Iterator[HeldClaim]:
        """Keep the claim alive until the block ends."""
        held, older = HeldClaim(claim), self._held.get(claim.discussion_id)
        if older is not None:
            # It is renewed no more, so nothing else would ever tell its driver, whose model may go on for long.
            older.lost.set()
            older.disturbed.set()
        self._held[claim.discussion_id] = held
        try:
            yield held
        finally:
            if self._held.get(claim.discussion_id) is held:
                del self._held[claim.discussion_id]

    async def run(self) -> None:
        """Renew until cancelled. While the database is away nothing is renewed, and nothing can be written either."""
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            held = list(self._held.values())
            if not held:
                continue
            try:
                kept = await self._turns.renew([one.claim for one in held], self._lease_seconds)
            except Unavailable as error:
                log.warning("lease_renewal_failed", claims=len(held), reason=error.code)
                continue
            for one in held:
                wants_pause = kept.get(one.claim.discussion_id)
                if wants_pause is None:
                    one.lost.set()
                if wants_pause is not False:
                    one.disturbed.set()
