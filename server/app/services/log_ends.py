"""Where the logs of discussions end, asked for many requests at once."""

import asyncio
from collections.abc import Mapping
from uuid import UUID

from app.core.background import Errands
from app.repositories.event_log import last_seqs
from app.services.unit_of_work import UnitOfWorkFactory

Answer = asyncio.Future[Mapping[UUID, int]]


class LogEnds:
    """One statement at a time, for all who want to know: under load a question costs a part of a round trip.

    A question joins the next statement, never the one under way, so that its answer shows whatever was committed when
    it was asked.
    """

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow
        self._errands = Errands()
        self._asked: set[UUID] = set()
        self._answer: Answer | None = None
        self._is_asking = False

    async def of(self, discussion_id: UUID) -> int | None:
        """The last `seq` of a log; None if there is no such discussion. Raise `DatabaseAway`."""
        if self._answer is None:
            self._answer = asyncio.get_running_loop().create_future()
            self._answer.add_done_callback(_look)
            if not self._is_asking:
                self._is_asking = True
                self._errands.begin(self._ask())
        self._asked.add(discussion_id)
        # Others wait for it as well.
        ends = await asyncio.shield(self._answer)
        return ends.get(discussion_id)

    async def close(self) -> None:
        await self._errands.close()

    async def _ask(self) -> None:
        try:
            while self._answer is not None:
                await self._ask_once()
        finally:
            self._is_asking = False

    async def _ask_once(self) -> None:
        answer: Answer | None = None
        try:
            async with self._uow.driver() as driver:
                answer, asked = self._take()  # those included who came while there was no connection
                answer.set_result(await last_seqs(driver, asked))
        except Exception as error:
            if answer is None:
                answer, _asked = self._take()
            if not answer.done():
                answer.set_exception(error)
        finally:
            if answer is not None:
                answer.cancel()

    def _take(self) -> tuple[Answer, set[UUID]]:
        """What is asked by now; what is asked from here on is the next question."""
        assert self._answer is not None
        taken = self._answer, self._asked
        self._answer, self._asked = None, set()
        return taken


def _look(answer: Answer) -> None:
    """Take note of its error: those who asked may all have left."""
    if not answer.cancelled():
        answer.exception()
