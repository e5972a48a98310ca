"""Where the logs of discussions end, asked for many requests at once."""

import asyncio
from contextvars import Context
from uuid import UUID

from app.core.background import Errands
from app.repositories.base import DatabaseAway
from app.repositories.event_log import last_seqs
from app.services.unit_of_work import UnitOfWorkFactory

GATHER_STEPS = 3
"""Steps of the event loop between two statements: those who were just answered may be asking again."""

Asked = dict[UUID, list[asyncio.Future[int | None]]]


class LogEnds:
    """One statement at a time, for all who want to know: under load a question costs a part of a round trip.

    A question joins the next statement, never the one under way, so that its answer shows whatever was committed when
    it was asked.
    """

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow
        self._errands = Errands()
        self._asked: Asked = {}
        self._is_asking = False

    async def of(self, discussion_id: UUID) -> int | None:
        """The last `seq` of a log; None if there is no such discussion. Raise `DatabaseAway`."""
        answer: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._asked.setdefault(discussion_id, []).append(answer)
        if not self._is_asking:
            self._is_asking = True
            # In no request's context: it goes on for others than the one that began it.
            self._errands.begin(self._ask(), Context())
        return await answer

    async def close(self) -> None:
        await self._errands.close()

    async def _ask(self) -> None:
        was_told = True
        try:
            while self._asked:
                was_told = await self._ask_while_asked(is_last_try=not was_told)
        finally:
            self._is_asking = False

    async def _ask_while_asked(self, *, is_last_try: bool) -> bool:
        """On one connection, until nobody asks any more; whether all who asked were told something.

        It may have died while nobody used it: then what was asked is to be asked once more, on another.
        """
        asked: Asked = {}
        try:
            async with self._uow.driver() as driver, driver.cursor() as cursor:
                while self._asked:
                    asked = self._take()
                    ends = await last_seqs(cursor, asked)
                    is_last_try = False
                    for discussion_id, answers in asked.items():
                        for answer in answers:
                            if not answer.done():  # they may have left
                                answer.set_result(ends.get(discussion_id))
                    asked = {}
                    for _ in range(GATHER_STEPS):
                        await asyncio.sleep(0)
        except DatabaseAway as error:
            if is_last_try:
                self._tell(asked, error)
            for discussion_id, answers in asked.items():
                self._asked.setdefault(discussion_id, []).extend(answers)
            return is_last_try
        except Exception as error:
            self._tell(asked, error)
        except BaseException:
            self._tell(asked, DatabaseAway("the server stops"))
            raise
        return True

    def _tell(self, asked: Asked, error: Exception) -> None:
        """Those who were about to be answered, and those who have asked since."""
        for answer in (*_answers(asked), *_answers(self._take())):
            if not answer.done():
                answer.set_exception(error)
        asked.clear()

    def _take(self) -> Asked:
        """What is asked by now; what is asked from here on is the next question."""
        asked, self._asked = self._asked, {}
        return asked


def _answers(asked: Asked) -> list[asyncio.Future[int | None]]:
    return [answer for answers in asked.values() for answer in answers]
