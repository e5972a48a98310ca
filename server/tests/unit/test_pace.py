"""Pace: how finely text is cut, by how many speak."""

from contextlib import ExitStack

import pytest

from app.services.providers.pace import LONG_CHARACTERS, LONGEST_REST_SECONDS, PIECES_PER_SECOND, Pace


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
