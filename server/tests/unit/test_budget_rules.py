"""Budgets of a day: what is set aside and spent never exceeds them, in whatever order turns come and go."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.budgets import Account, DailyLimit, Funds, Overdrawn, Scope
from app.domain.limits import Left, LimitUse, Spending

TODAY = date(2026, 5, 1)


def account(scope=Scope.USER, *, budget, spent=0, reserved=0):
    return Account(scope, budget, Spending(tokens=spent), Spending(tokens=reserved))


def funds(*accounts, day=TODAY):
    return Funds(day, accounts)


@pytest.mark.parametrize(
    ("spent", "reserved", "worst", "fits"),
    [(0, 0, 100, True), (0, 0, 101, False), (50, 20, 30, True), (50, 21, 30, False)],
)
def test_a_turn_needs_room_beside_what_is_spent_and_set_aside(spent, reserved, worst, fits):
    one = account(budget=Left(tokens=100), spent=spent, reserved=reserved)

    assert (funds(one).overdrawn(Spending(tokens=worst)) is None) == fits


def test_the_first_budget_without_room_is_named():
    both = funds(account(budget=Left()), account(Scope.WORKSPACE, budget=Left(cost_usd=0.5)))

    assert both.overdrawn(Spending(tokens=10**9, cost_usd=0.5)) is None
    assert both.overdrawn(Spending(cost_usd=0.6)) == Overdrawn(DailyLimit.WORKSPACE_USD)


def test_what_others_set_aside_is_lacking_for_now_and_what_is_spent_for_good():
    budget, worst = Left(tokens=100), Spending(tokens=60)
    spent, reserved = account(budget=budget, spent=50), account(budget=budget, reserved=50)

    assert funds(spent).overdrawn(worst) == Overdrawn(DailyLimit.USER_TOKENS)
    assert funds(reserved).overdrawn(worst) == Overdrawn(DailyLimit.USER_TOKENS, is_for_now=True)
    of_workspace = account(Scope.WORKSPACE, budget=budget, spent=50)
    assert funds(reserved, of_workspace).overdrawn(worst) == Overdrawn(DailyLimit.WORKSPACE_TOKENS)
    assert (funds(spent).may_grow, funds(spent, reserved).may_grow) == (False, True)


def test_what_is_left_is_the_least_of_all_budgets_beside_what_is_set_aside():
    both = funds(
        account(budget=Left(tokens=100), spent=50, reserved=20),
        account(Scope.WORKSPACE, budget=Left(tokens=90, cost_usd=0.5), spent=10, reserved=10),
    )

    assert both.left == Left(tokens=30, cost_usd=0.5)


def test_each_budget_is_warned_of_once_a_day_from_four_fifths_on():
    near = account(budget=Left(tokens=100, cost_usd=1.0), spent=80)
    far = account(Scope.WORKSPACE, budget=Left(tokens=101), spent=80)
    today, tomorrow = funds(near, far), funds(near, far, day=date(2026, 5, 2))

    [warning] = today.warnings([])
    warned = [today.mark(warning.limit)]

    assert warning == LimitUse("user_tokens_per_day", 80, 100)
    assert today.warnings(warned) == []
    assert tomorrow.warnings(warned) == [warning]


TURNS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 60), st.floats(0, 1), st.booleans()), min_size=1, max_size=60
)


@given(tokens=st.integers(1, 200), turns=TURNS)
def test_no_order_of_turns_exceeds_a_budget(tokens, turns):
    """Discussions begin turns (their worst case is set aside), finish them, or crash and begin anew."""
    spent, reserved = 0, {}
    for discussion, worst, fraction, crashes in turns:
        if discussion in reserved and not crashes:
            spent += int(reserved.pop(discussion) * fraction)
        others = sum(amount for other, amount in reserved.items() if other != discussion)
        one = account(budget=Left(tokens=tokens), spent=spent, reserved=others)
        if funds(one).overdrawn(Spending(tokens=worst)) is None:
            reserved[discussion] = worst
        assert spent + sum(reserved.values()) <= tokens
