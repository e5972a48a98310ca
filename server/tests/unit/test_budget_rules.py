"""Budgets of a day: what is set aside and spent never exceeds them, in whatever order turns come and go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.budgets import Account, Budget, Overdrawn, Scope, overdrawn
from app.domain.discussion import EndReason
from app.domain.limits import Spending


def account(scope=Scope.USER, *, budget, spent=0, reserved=0):
    return Account(scope, budget, Spending(tokens=spent), Spending(tokens=reserved))


@pytest.mark.parametrize(
    ("spent", "reserved", "worst", "fits"),
    [(0, 0, 100, True), (0, 0, 101, False), (50, 20, 30, True), (50, 21, 30, False)],
)
def test_a_turn_needs_room_beside_what_is_spent_and_set_aside(spent, reserved, worst, fits):
    lacking = overdrawn([account(budget=Budget(tokens=100), spent=spent, reserved=reserved)], Spending(tokens=worst))

    assert (lacking is None) == fits


def test_the_first_budget_without_room_is_named():
    accounts = [account(budget=Budget()), account(Scope.WORKSPACE, budget=Budget(cost_usd=0.5))]

    assert overdrawn(accounts, Spending(tokens=10**9, cost_usd=0.5)) is None
    assert overdrawn(accounts, Spending(cost_usd=0.6)) == Overdrawn(
        Scope.WORKSPACE, EndReason.MAX_COST, Budget(cost_usd=0.5)
    )


def test_what_others_set_aside_is_lacking_for_now_and_what_is_spent_for_good():
    budget, worst = Budget(tokens=100), Spending(tokens=60)
    spent, reserved = account(budget=budget, spent=50), account(budget=budget, reserved=50)

    assert overdrawn([spent], worst) == Overdrawn(Scope.USER, EndReason.MAX_TOKENS, budget)
    assert overdrawn([reserved], worst) == Overdrawn(Scope.USER, EndReason.MAX_TOKENS, budget, is_for_now=True)
    of_workspace = account(Scope.WORKSPACE, budget=budget, spent=50)
    assert overdrawn([reserved, of_workspace], worst) == Overdrawn(Scope.WORKSPACE, EndReason.MAX_TOKENS, budget)


@pytest.mark.parametrize(
    ("scope", "budget", "reason", "detail"),
    [
        (
            Scope.USER,
            Budget(tokens=50_000),
            EndReason.MAX_TOKENS,
            "the daily budget of the person who opened this discussion (50,000 tokens) has no room for another turn; "
            "it renews at midnight UTC",
        ),
        (
            Scope.WORKSPACE,
            Budget(cost_usd=0.005),
            EndReason.MAX_COST,
            "the daily budget of this workspace ($0.005) has no room for another turn; it renews at midnight UTC",
        ),
    ],
)
def test_the_detail_says_whose_budget_it_was_and_when_it_renews(scope, budget, reason, detail):
    assert Overdrawn(scope, reason, budget).detail == detail


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
        one = account(budget=Budget(tokens=tokens), spent=spent, reserved=others)
        if overdrawn([one], Spending(tokens=worst)) is None:
            reserved[discussion] = worst
        assert spent + sum(reserved.values()) <= tokens
