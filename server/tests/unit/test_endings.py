"""Why a discussion ends after a turn."""

import pytest

from app.domain.budgets import DailyLimit, anew_after_pause
from app.domain.discussion import EndReason
from app.domain.endings import Ending, announced_ending, find_ending
from app.domain.limits import Limits, Spending

RENEWS = "has no room for another turn; it renews at midnight UTC"


@pytest.mark.parametrize("reason", ["max_turns", "max_tokens", "max_cost", "max_seconds"])
def test_after_the_wrap_up_turn_it_is_over_for_the_reason_of_that(reason):
    assert find_ending(Limits(), Spending(turns=1), reason) == Ending(EndReason(reason))


@pytest.mark.parametrize(
    ("limit", "reason", "detail"),
    [
        ("user_tokens_per_day", "max_tokens", "the daily budget of tokens of the person who opened this discussion"),
        ("user_usd_per_day", "max_cost", "the daily budget of dollars of the person who opened this discussion"),
        ("workspace_tokens_per_day", "max_tokens", "the daily budget of tokens of this workspace"),
        ("workspace_usd_per_day", "max_cost", "the daily budget of dollars of this workspace"),
    ],
)
def test_the_end_for_a_budget_of_the_day_says_whose_it_was_and_when_it_renews(limit, reason, detail):
    assert announced_ending(limit) == Ending(EndReason(reason), f"{detail} {RENEWS}")


def test_a_stop_condition_comes_before_the_limit_that_the_turn_was_the_last_one_for():
    assert find_ending(Limits(max_turns=1), Spending(turns=1), "max_turns", "said") == Ending(
        EndReason.STOP_CONDITION, "said"
    )


def test_nothing_ends_what_may_go_on():
    assert find_ending(Limits(max_turns=2), Spending(turns=1), None) is None
    assert find_ending(Limits(max_turns=1), Spending(turns=1), None) == Ending(EndReason.MAX_TURNS)


@pytest.mark.parametrize("limit", DailyLimit)
def test_a_budget_may_have_renewed_in_a_pause_and_a_limit_has_not(limit):
    assert (anew_after_pause(limit.value), anew_after_pause("max_tokens"), anew_after_pause(None)) == (
        None,
        "max_tokens",
        None,
    )
