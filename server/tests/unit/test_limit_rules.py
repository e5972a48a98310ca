"""Limits of a discussion: what is never exceeded, what is warned of, which turn is the last."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.discussion import EndReason
from app.domain.limits import LAST_SECONDS, MAX_TURNS, Left, Limits, Spending
from app.domain.prompt import ChatMessage
from app.services.ai_models import Model
from app.services.providers.base import ChatRequest
from app.services.turns.room import LEAST_PROMPT_TOKENS, NoRoom, fit, worst_case


@pytest.mark.parametrize(
    ("limits", "used", "reason"),
    [
        (Limits(max_turns=3), Spending(turns=2), None),
        (Limits(max_turns=3), Spending(turns=3), EndReason.MAX_TURNS),
        (Limits(), Spending(turns=MAX_TURNS - 1), None),
        (Limits(), Spending(turns=MAX_TURNS), EndReason.MAX_TURNS),
        (Limits(max_tokens=100), Spending(tokens=100), None),
        (Limits(max_tokens=100), Spending(tokens=101), EndReason.MAX_TOKENS),
        (Limits(max_cost_usd=1.0), Spending(cost_usd=1.5), EndReason.MAX_COST),
        (Limits(max_seconds=10), Spending(seconds=99.0), None),
    ],
)
def test_a_discussion_is_over_when_no_turn_may_follow(limits, used, reason):
    assert limits.over(used) == reason


@pytest.mark.parametrize(
    ("limits", "used", "reason"),
    [
        (Limits(max_turns=3), Spending(turns=1), None),
        (Limits(max_turns=3), Spending(turns=2), EndReason.MAX_TURNS),
        (Limits(max_turns=1), Spending(), None),
        (Limits(), Spending(turns=MAX_TURNS - 1), EndReason.MAX_TURNS),
        (Limits(max_seconds=10), Spending(turns=1, seconds=9.9), None),
        (Limits(max_seconds=10), Spending(turns=1, seconds=10.0), EndReason.MAX_SECONDS),
    ],
)
def test_the_wrap_up_turn_is_the_last_of_them_or_the_first_after_the_time(limits, used, reason):
    assert limits.last_turn(used) == reason


@pytest.mark.parametrize(
    ("left", "worst", "reason"),
    [
        (Left(tokens=40), Spending(tokens=40), None),
        (Left(tokens=40), Spending(tokens=41), EndReason.MAX_TOKENS),
        (Left(cost_usd=0.25), Spending(tokens=10**9, cost_usd=0.25), None),
        (Left(cost_usd=0.25), Spending(cost_usd=0.26), EndReason.MAX_COST),
        (Left(), Spending(tokens=10**9, cost_usd=10**9), None),
    ],
)
def test_a_limit_lacks_room_for_a_worst_case_and_not_for_what_just_fits(left, worst, reason):
    assert left.lacks(worst) == reason


def test_two_bounds_leave_what_is_the_least_of_each():
    assert Left(tokens=40, cost_usd=1.0).within(Left(tokens=50, cost_usd=0.5)) == Left(tokens=40, cost_usd=0.5)
    assert Left(tokens=40).within(Left(cost_usd=0.5)) == Left(tokens=40, cost_usd=0.5)
    assert Left(tokens=40).within(None) == Left(tokens=40)
    assert Left(tokens=0).within(Left(tokens=40)) == Left(tokens=0)


NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("max_seconds", "since_start", "own", "expected"),
    [
        (None, 10, None, None),
        (None, 10, 60, 60),
        (100, 10, None, 90),
        (100, 10, 60, 60),
        (100, 50, 60, 50),
        (100, 100, 60, 60),
        (100, 500, None, LAST_SECONDS),
    ],
)
def test_nobody_is_waited_for_longer_than_the_discussion_may_last_but_for_its_last_turn(
    max_seconds, since_start, own, expected
):
    deadline = Limits(max_seconds=max_seconds).deadline(NOON, own, NOON - timedelta(seconds=since_start))

    assert deadline == (None if expected is None else NOON + timedelta(seconds=expected))


def test_an_unbounded_discussion_has_nothing_to_reckon_with():
    assert Limits(max_turns=5, max_seconds=60).left(Spending(tokens=10**9)) is None


STEPS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=60)


@given(limit=st.integers(1, 1000), turns=STEPS)
def test_a_token_limit_is_never_exceeded_whatever_the_turns_use(limit, turns):
    """Each turn is reserved at its worst and uses at most that."""
    used = 0
    for worst, fraction in turns:
        if Limits(max_tokens=limit).left(Spending(tokens=used)).lacks(Spending(tokens=worst)):
            break
        used += min(worst, fraction)
        assert used <= limit


@given(limits=st.builds(Limits, *[st.none() | st.integers(1, 50)] * 4), steps=STEPS)
def test_every_limit_is_warned_of_once_and_only_at_four_fifths(limits, steps):
    used, warned = Spending(), []
    for tokens, seconds in steps:
        used += Spending(turns=1, tokens=tokens, cost_usd=float(tokens), seconds=float(seconds))
        for one in limits.warnings(used, warned):
            assert one.used * 5 >= one.most * 4
            warned.append(one.limit)
    assert len(warned) == len(set(warned))
    most = {"max_turns": limits.turns, "max_tokens": limits.max_tokens, "max_cost_usd": limits.max_cost_usd}
    spent = {"max_turns": used.turns, "max_tokens": used.tokens, "max_cost_usd": used.cost_usd}
    assert {name for name in most if most[name] and spent[name] * 5 >= most[name] * 4} == set(warned) - {"max_seconds"}


class Priced(Model):
    """A model whose calls cost what the test says."""

    def __init__(self, prompt_usd, reply_usd):
        super().__init__("openai/priced", None, "priced", 8192, "")
        object.__setattr__(self, "prices", (prompt_usd, reply_usd))

    def cost_usd(self, prompt_tokens, completion_tokens):
        return prompt_tokens * self.prices[0] + completion_tokens * self.prices[1]


def make_of(prompt_tokens):
    """Requests whose prompt is so long if it may, made of words of a known estimate."""

    def make(reply_tokens, room):
        length = prompt_tokens if room is None else min(prompt_tokens, room)
        return ChatRequest(
            "priced", [ChatMessage("user", "a" * max(int((length - 1) / 0.28), 0))], max_tokens=reply_tokens
        )

    return make


PRICES = st.sampled_from([0.0, 1e-6, 2.5e-6, 1e-5, 1e-3])


@given(
    model=st.builds(Priced, PRICES, PRICES),
    prompt=st.integers(1, 6000),
    reply=st.integers(1, 4000),
    left=st.builds(Left, st.none() | st.integers(-50, 9000), st.none() | st.floats(-0.1, 3)),
)
def test_a_request_is_made_to_fit_what_is_left_or_not_made(model, prompt, reply, left):
    make = make_of(prompt)
    try:
        request = fit(model, make, reply, left)
    except NoRoom as refused:
        assert left.lacks(worst_case(model, make(reply, None))) == refused.reason
        return
    assert left.lacks(worst_case(model, request)) is None
    assert request.max_tokens == reply or left.lacks(worst_case(model, make(reply, None)))


def test_a_request_that_fits_is_left_whole():
    make = make_of(500)

    assert fit(Priced(0, 0), make, 200, Left(tokens=800)) == make(200, None)
    assert fit(Priced(0, 0), make, 200, None) == make(200, None)


def test_a_reply_is_shortened_before_a_prompt_is_cut_to_nothing():
    request = fit(Priced(0, 0), make_of(500), 400, Left(tokens=450))

    assert (request.max_tokens, 250 < worst_case(Priced(0, 0), request).tokens <= 450) == (100, True)


def test_nothing_is_asked_when_less_is_left_than_is_of_use():
    with pytest.raises(NoRoom, match="max_tokens"):
        fit(Priced(0, 0), make_of(500), 400, Left(tokens=LEAST_PROMPT_TOKENS))
