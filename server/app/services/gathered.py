"""Small questions to the database, asked for many requests at once."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from contextvars import Context
from typing import Any, Generic, TypeVar

from app.core.background import Errands
from app.repositories.base import DatabaseAway
from app.services.unit_of_work import UnitOfWorkFactory

GATHER_STEPS = 3
"""Steps of the event loop between two statements: those who were just answered may be asking again."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Question = Callable[[Any, Collection[K]], Awaitable[Mapping[K, V]]]
"""Given the driver's cursor and what is asked for, what was found; what there is not is left out."""
_Asked = dict[K, list[asyncio.Future[V | None]]]


class Gathered(Generic[K, V]):
    """One statement at a time, for all who want to know: under load a question costs a part of a round trip.

    A question joins the next statement, never the one under way, so that its answer shows whatever was committed when
    it was asked.
    """

    def __init__(self, uow: UnitOfWorkFactory, question: Question[K, V]) -> None:
        self._uow = uow
        self._question = question
        self._errands = Errands()
        self._asked: _Asked[K, V] = {}
        self._is_asking = False

    async def of(self, key: K) -> V | None:
        """What is found of it now; None if there is nothing. Raise `DatabaseAway`."""
        answer: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._asked.setdefault(key, []).append(answer)
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
        asked: _Asked[K, V] = {}
        try:
            async with self._uow.driver() as driver, driver.cursor() as cursor:
                while self._asked:
                    asked = self._take()
                    found = await self._question(cursor, asked)
                    is_last_try = False
                    for key, answers in asked.items():
                        for answer in answers:
                            if not answer.done():  # they may have left
                                answer.set_result(found.get(key))
                    asked = {}
                    for _ in range(GATHER_STEPS):
                        await asyncio.sleep(0)
        except DatabaseAway as error:
            if is_last_try:
                self._tell(asked, error)
            for key, answers in asked.items():
                self._asked.setdefault(key, []).extend(answers)
            return is_last_try
        except Exception as error:
            self._tell(asked, error)
        except BaseException:
            self._tell(asked, DatabaseAway("the server stops"))
            raise
        return True

    def _tell(self, asked: _Asked[K, V], error: Exception) -> None:
        """Those who were about to be answered, and those who have asked since."""
        for answer in (*_answers(asked), *_answers(self._take())):
            if not answer.done():
                answer.set_exception(error)
        asked.clear()

    def _take(self) -> _Asked[K, V]:
        """What is asked by now; what is asked from here on is the next question."""
        asked, self._asked = self._asked, {}
        return asked


def _answers(asked: _Asked[K, V]) -> list[asyncio.Future[V | None]]:
    return [answer for answers in asked.values() for answer in answers]
