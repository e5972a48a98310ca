"""The sweep: once a second, put back what dead workers held, find what nobody drives, and end waits that are over."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import structlog
from procrastinate import exceptions

from app.core.errors import Unavailable
from app.repositories.jobs import PRIORITIES
from app.repositories.turns import TurnRepository
from app.services.floor_deadlines import FloorDeadlines
from app.services.knowledge.left_overs import LeftOvers
from app.services.turns.driver import TurnDriver
from app.services.unit_of_work import UnitOfWorkFactory

log = structlog.stdlib.get_logger(__name__)

SWEEP_SECONDS = 1.0
DEAD_AFTER_SECONDS = 3.0
ABANDONED_AFTER_SECONDS = 2.0
ABANDONED_LIMIT = 100
AGED_AT_ONCE = 2
IDLE_AFTER_SECONDS = 5.0


class Sweep:
    """Runs in every worker; two at once do no harm."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        turns: TurnRepository,
        driver: TurnDriver,
        deadlines: FloorDeadlines,
        left_overs: LeftOvers,
        *,
        aged_after_seconds: float,
    ) -> None:
        self._uow = uow
        self._turns = turns
        self._driver = driver
        self._deadlines = deadlines
        self._left_overs = left_overs
        self._aged_after_seconds = aged_after_seconds
        self._steps = [
            *(self._revive, self._put_back, self._adopt, self._age, self._look_for_waiting, self._expire),
            *(self._release_idle, self._left_overs.look),
        ]

    async def run(self) -> None:
        """Sweep until cancelled. No step's failure keeps the others from being taken."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for step in self._steps:
                await self._try(step.__name__, step)

    async def _try(self, name: str, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except exceptions.AlreadyEnqueued:
            log.info("sweep_overtaken", step=name)
        except (Unavailable, exceptions.ConnectorException) as error:
            log.warning("sweep_failed", step=name, reason=type(error).__name__)
        except Exception:
            log.exception("sweep_failed", step=name)

    async def _revive(self) -> None:
        async with self._uow() as work:
            revived = await work.jobs.revive(DEAD_AFTER_SECONDS)
        if revived:
            log.warning("discussions_revived", discussions=revived)

    async def _put_back(self) -> None:
        async with self._uow() as work:
            put_back = await work.jobs.put_back(DEAD_AFTER_SECONDS)
        if put_back:
            log.warning("jobs_put_back", jobs=put_back)

    async def _expire(self) -> None:
        """Each discussion in a transaction of its own: one that cannot go on must not hold up the others."""
        for floor in await self._deadlines.list_overdue():
            await self._try("_expire", partial(self._deadlines.expire, floor))

    async def _adopt(self) -> None:
        """The safety net: a discussion runs, its lease has lapsed, and no job waits."""
        for discussion_id, priority in await self._turns.abandoned(ABANDONED_AFTER_SECONDS, ABANDONED_LIMIT):
            try:
                async with self._uow() as work:
                    await work.jobs.drive(discussion_id, PRIORITIES[priority])
            except exceptions.AlreadyEnqueued:
                continue
            log.warning("discussion_adopted", discussion_id=str(discussion_id))

    async def _age(self) -> None:
        async with self._uow() as work:
            await work.jobs.age(self._aged_after_seconds, AGED_AT_ONCE)

    async def _look_for_waiting(self) -> None:
        async with self._uow.reading() as work:
            self._driver.others_wait = await work.jobs.others_wait()

    async def _release_idle(self) -> None:
        async with self._uow() as work:
            await work.budgets.release_idle(IDLE_AFTER_SECONDS, ABANDONED_LIMIT)
