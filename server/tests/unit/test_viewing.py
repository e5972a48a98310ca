"""What a viewer may read is asked anew while they watch, and not too often."""

from uuid import UUID

import pytest

from app.core.errors import Unavailable
from app.domain.visibility import Reader
from app.services.live.position import Position
from app.services.live.viewing import ASK_SECONDS, Viewing

pytestmark = pytest.mark.anyio

MODERATOR = Reader(UUID(int=1), sees_all=True)
MEMBER = Reader(UUID(int=1), frozenset({UUID(int=2)}))


class Asked:
    """Answers in turn; an answer may be a failure."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.times = 0
        self.now = 100.0

    async def __call__(self):
        self.times += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def viewing(self):
        return Viewing(self, lambda: self.now)


async def test_it_is_asked_once_in_an_interval():
    asked, position = Asked(MEMBER), Position(0, reader=MODERATOR)
    viewing = asked.viewing()

    assert await viewing.may_go_on(position)
    assert (asked.times, position.reader) == (0, MODERATOR)
    asked.now += ASK_SECONDS
    assert await viewing.may_go_on(position)
    assert await viewing.may_go_on(position)

    assert (asked.times, position.reader) == (1, MEMBER)


async def test_who_may_read_nothing_any_more_does_not_go_on():
    asked, position = Asked(None), Position(0, reader=MEMBER)
    viewing = asked.viewing()
    asked.now += ASK_SECONDS

    assert not await viewing.may_go_on(position)
    assert viewing.is_over


async def test_nobody_is_cut_off_by_an_outage_and_it_is_asked_again_later():
    asked, position = Asked(Unavailable("away"), None), Position(0, reader=MEMBER)
    viewing = asked.viewing()
    asked.now += ASK_SECONDS

    assert await viewing.may_go_on(position)
    assert await viewing.may_go_on(position)
    assert (asked.times, position.reader, viewing.is_over) == (1, MEMBER, False)
    asked.now += ASK_SECONDS
    assert not await viewing.may_go_on(position)
