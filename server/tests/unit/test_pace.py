"""Pace: how finely text is cut, by how many speak."""

import asyncio
from contextlib import ExitStack

import pytest

from app.services.providers.pace import LONG_CHARACTERS, LONGEST_REST_SECONDS, PIECES_PER_SECOND, Pace
from tests.fixtures.deadlines import eventually


@pytest.fixture
def rest_among():
    with ExitStack() as stack:

        def rest(speakers, characters=5):
            pace = Pace()
            for _ in range(speakers):
                stack.enter_context(pace.speaking())
            return pace.rest_seconds(characters)

        yield rest


@pytest.mark.parametrize("speakers", [0, 1, 5, 29])
def test_a_few_speakers_never_rest(rest_among, speakers):
    assert rest_among(speakers) == 0


@pytest.mark.parametrize("speakers", [31, 100, 300, 500])
def test_many_speakers_rest_so_long_that_their_pieces_together_can_be_carried(rest_among, speakers):
    assert speakers / rest_among(speakers) == pytest.approx(PIECES_PER_SECOND)


def test_no_rest_is_longer_than_a_viewer_minds(rest_among):
    assert rest_among(100_000) == LONGEST_REST_SECONDS < 0.2


def test_after_a_long_piece_nobody_rests(rest_among):
    assert rest_among(500, LONG_CHARACTERS - 1) > 0
    assert rest_among(500, LONG_CHARACTERS) == 0


def test_who_has_spoken_counts_no_more_even_if_it_failed():
    pace = Pace()
    with ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(pace.speaking())
        assert pace.rest_seconds(1) > 0
    assert pace.rest_seconds(1) == 0
    for _ in range(500):
        with pytest.raises(LookupError), pace.speaking():
            raise LookupError

    assert pace.rest_seconds(1) == 0


@pytest.mark.anyio
async def test_rests_that_end_at_about_the_same_time_end_together_and_none_too_early():
    pace, loop = Pace(), asyncio.get_running_loop()
    ended = {}
    began = loop.time()
    for number in range(100):
        seconds = 0.02 + number / 10_000
        pace.after(seconds, lambda seconds=seconds: ended.update({seconds: loop.time()}))
    timers = len(pace._resting)
    await eventually(lambda: len(ended) == 100, 2, "the end of the rests")

    assert all(at - began >= seconds - 0.001 for seconds, at in ended.items())
    assert timers < 20
    assert not pace._resting
