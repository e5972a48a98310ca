"""Where logs end, asked for many at once: nobody is told what was so before they asked, and nobody waits for ever."""

import asyncio
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from app.repositories.base import DatabaseAway
from app.services.log_ends import LogEnds

pytestmark = pytest.mark.anyio

ONE, TWO = UUID(int=1), UUID(int=2)


class Database:
    """Ends of logs; a statement reads them when it begins and answers when it is let."""

    def __init__(self):
        self.ends = {ONE: 1}
        self.statements = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.fault = None
        self.faults_to_come = []

    @asynccontextmanager
    async def driver(self):
        if self.fault is not None:
            raise self.fault
        yield self

    @asynccontextmanager
    async def cursor(self):
        yield self

    async def execute(self, _statement, values):
        ids = {UUID(text) for text in values[0].strip("{}").split(",")}
        self.statements.append(ids)
        self._found = [(key, end) for key, end in self.ends.items() if key in ids]
        await self.answers.wait()
        if self.faults_to_come:
            raise self.faults_to_come.pop()
        if self.fault is not None:
            raise self.fault

    async def fetchall(self):
        return self._found


@pytest.fixture
async def database():
    return Database()


@pytest.fixture
async def ends(database):
    ends = LogEnds(database)
    yield ends
    await ends.close()


async def soon(*questions):
    async with asyncio.timeout(5):
        return await asyncio.gather(*questions, return_exceptions=True)


async def begun(*questions):
    tasks = [asyncio.create_task(question) for question in questions]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_one_question_after_the_other_is_answered(ends, database):
    for end in range(2, 200):
        database.ends[ONE] = end
        assert await soon(ends.of(ONE)) == [end]


async def test_a_discussion_that_is_not_there_has_no_end(ends):
    assert await soon(ends.of(TWO)) == [None]


async def test_those_who_come_during_a_statement_share_the_next_one(ends, database):
    database.ends[TWO] = 7
    database.answers.clear()
    first = await begun(ends.of(ONE))
    others = await begun(*(ends.of(which) for which in (ONE, TWO) * 10))

    database.answers.set()

    assert await soon(*first, *others) == [1, *(1, 7) * 10]
    assert database.statements == [{ONE}, {ONE, TWO}]


async def test_what_was_read_before_somebody_asked_is_no_answer_to_them(ends, database):
    database.answers.clear()
    early = await begun(ends.of(ONE))
    database.ends[ONE] = 2
    late = await begun(ends.of(ONE))

    database.answers.set()

    assert await soon(*early, *late) == [1, 2]


@pytest.mark.parametrize("when", ["without a connection", "in the midst of a statement"])
async def test_a_fault_is_told_to_those_who_asked_and_to_nobody_later(ends, database, when):
    fault = DatabaseAway("gone")
    if when == "without a connection":
        database.fault = fault
        asked = await begun(ends.of(ONE), ends.of(TWO))
    else:
        database.answers.clear()
        asked = await begun(ends.of(ONE))
        asked += await begun(ends.of(TWO))
        database.fault = fault
        database.answers.set()

    assert await soon(*asked) == [fault, fault]
    database.fault = None
    assert await soon(ends.of(ONE)) == [1]


async def test_a_connection_that_died_unused_is_noticed_by_nobody(ends, database):
    database.faults_to_come = [DatabaseAway("died unused")]

    assert await soon(ends.of(ONE), ends.of(TWO)) == [1, None]
    assert database.statements == [{ONE, TWO}] * 2


async def test_one_who_leaves_takes_nobodys_answer_along(ends, database):
    database.answers.clear()
    leaving, staying = await begun(ends.of(ONE), ends.of(ONE))
    leaving.cancel()
    await soon(leaving)

    database.answers.set()

    assert await soon(staying, ends.of(ONE)) == [1, 1]


async def test_whoever_still_asks_at_the_end_does_not_hang(ends, database):
    database.answers.clear()
    asked = await begun(ends.of(ONE))
    asked += await begun(ends.of(TWO))

    await ends.close()

    assert {type(answer) for answer in await soon(*asked)} == {DatabaseAway}
