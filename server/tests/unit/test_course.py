"""Which model is asked next after one failed, and how soon."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.ai_models import UnknownModel
from app.services.providers.base import (
    ModelCircuitOpen,
    ModelContextExceeded,
    ModelDisconnected,
    ModelRateLimited,
    ModelUnauthorized,
    ModelUnavailable,
)
from app.services.turns.course import LONGEST_BACKOFF_SECONDS, Course

KINDS = (ModelCircuitOpen, ModelContextExceeded, ModelDisconnected, ModelRateLimited, ModelUnauthorized, UnknownModel)


def test_the_same_model_is_asked_as_often_as_told_and_then_given_up():
    course = Course(["a"], 3)

    waits = [course.after(ModelUnavailable("x")) for _ in range(3)]

    assert waits[2] is None
    assert 0.25 <= waits[0] <= 0.75
    assert 0.5 <= waits[1] <= 1.5


def test_a_fallback_is_asked_at_once_when_a_model_is_given_up():
    course = Course(["a", "b"], 2)

    assert course.after(ModelDisconnected("x")) > 0
    assert course.after(ModelDisconnected("x")) == 0
    assert course.model == "b"


@pytest.mark.parametrize("error", [ModelUnauthorized("x"), UnknownModel("x"), ModelCircuitOpen("x")])
def test_what_a_repetition_would_not_mend_goes_to_the_fallback_at_once(error):
    course = Course(["a", "b"], 3)

    assert course.after(error) == 0
    assert course.model == "b"


def test_an_open_circuit_is_waited_for_when_there_is_no_fallback():
    assert 7 <= Course(["a"], 3).after(ModelCircuitOpen("x", retry_after_seconds=7)) <= 7 * 1.25


def test_retry_after_is_honoured_unless_it_takes_too_long():
    assert 9 <= Course(["a"], 3).after(ModelRateLimited("x", retry_after_seconds=9)) <= 9 * 1.25
    assert Course(["a"], 3).after(ModelRateLimited("x", retry_after_seconds=LONGEST_BACKOFF_SECONDS + 1)) is None


def test_a_prompt_that_is_too_long_is_shortened_once():
    course = Course(["a"], 3)

    assert course.after(ModelContextExceeded("x"), 800) == 0
    assert course.most_prompt_tokens == 400
    assert course.after(ModelContextExceeded("x")) is None


def test_a_fallback_begins_with_a_whole_prompt():
    course = Course(["a", "b"], 3)

    course.after(ModelContextExceeded("x"))
    course.after(ModelContextExceeded("x"))

    assert (course.model, course.most_prompt_tokens) == ("b", None)


def test_the_second_empty_reply_is_a_pass():
    course = Course(["a"], 3)

    assert [course.is_mute(), course.is_mute()] == [False, True]


@given(
    models=st.integers(1, 6),
    tries=st.integers(1, 10),
    kinds=st.lists(st.sampled_from(KINDS), min_size=100, max_size=100),
)
def test_every_course_comes_to_an_end(models, tries, kinds):
    course = Course([str(number) for number in range(models)], tries)

    asked = 0
    for kind in kinds:
        asked += 1
        if course.after(kind("x")) is None:
            break

    assert asked <= models * (tries + 1)
