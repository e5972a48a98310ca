"""Whatever a limit or a budget, whoever speaks, whatever fails: one last turn, then the end, and nothing is exceeded.

The driver, the reckoning of room and the budget are the real ones; models, database and viewers are not there.
"""

from uuid import uuid4

import pytest

from app.domain.context import Utterance
from app.domain.limits import Left, Limits, Spending
from app.services.providers.base import ModelDisconnected, ModelUnauthorized, ModelUnavailable, TextDelta
from app.services.turns import course, reservations
from app.services.turns.inquiry import LEAST_REPLY_TOKENS as QUESTION_TOKENS
from app.services.turns.room import worst_case
from tests.fixtures.rehearsal import Bank, Rehearsal, RehearsalCatalog, RehearsalModel, talk, words

pytestmark = pytest.mark.anyio

CHEAP, DEAR = 1e-7, 1e-5


@pytest.fixture(autouse=True)
def in_haste(monkeypatch):
    monkeypatch.setattr(course, "BACKOFF_SECONDS", 0.0005)
    monkeypatch.setattr(reservations, "ROOM_SECONDS", 0.02)
    monkeypatch.setattr(reservations, "LOOK_SECONDS", 0.005)


async def refuse(_request, _number):
    raise ModelUnauthorized("no")
    yield


def cut(times):
    """Lose the connection near the end of a reply, so many times."""

    async def script(request, number):
        if number <= times:
            yield TextDelta(words(int(request.max_tokens * 0.9)))
            raise ModelDisconnected("the connection was lost")
        async for delta in talk(request, number):
            yield delta

    return script


def concludes(rehearsal):
    """One turn is announced as the last and ends it, with a message."""
    [last] = rehearsal.last_turns()
    [*_, message, end] = rehearsal.log
    assert (message.type, message.data["turn"], end.type) == ("message.completed", last, "discussion.ended")


SOLO = [(["x/m"], 300)]
UNEQUAL = [(["x/cheap"], 300), (["x/dear"], 300)]


def models(**scripts):
    return [
        RehearsalModel("x/m", scripts.get("m", talk), 3e-6),
        RehearsalModel("x/cheap", scripts.get("cheap", talk), CHEAP),
        RehearsalModel("x/dear", scripts.get("dear", talk), DEAR),
    ]


@pytest.mark.parametrize("longest", [1, 20, 60, 300, 1500])
@pytest.mark.parametrize("most", range(700, 6000, 331))
async def test_a_limit_of_tokens(most, longest):
    one = Rehearsal(RehearsalCatalog(*models()), [(["x/m"], longest)], Limits(max_turns=5000, max_tokens=most))
    await one.run()

    concludes(one)
    assert one.used.tokens <= most
    assert one.log[-1].data["end_reason"] == "max_tokens"


@pytest.mark.parametrize("agents", [[(["x/m"], 1500)], UNEQUAL, UNEQUAL[::-1], [(["x/cheap", "x/dear"], 300)]])
@pytest.mark.parametrize("most", [0.0105 + 0.0007 * step for step in range(24)])
async def test_a_limit_of_dollars_however_unequal_the_prices(most, agents):
    one = await Rehearsal(RehearsalCatalog(*models()), agents, Limits(max_turns=5000, max_cost_usd=most)).run()

    concludes(one)
    assert one.used.cost_usd <= most
    assert one.log[-1].data["end_reason"] == "max_cost"


@pytest.mark.parametrize("most", [0.0105 + 0.0007 * step for step in range(24)])
@pytest.mark.parametrize("first", ["x/cheap", "x/gone"])
async def test_a_limit_of_dollars_with_a_fallback_that_is_dearer(most, first):
    catalog = RehearsalCatalog(*models(cheap=refuse))
    one = await Rehearsal(catalog, [([first, "x/dear"], 300)], Limits(max_turns=5000, max_cost_usd=most)).run()

    concludes(one)
    assert one.used.cost_usd <= most


@pytest.mark.parametrize("most", range(1100, 2600, 53))
async def test_a_limit_with_attempts_that_are_cut_and_charged(most):
    one = await Rehearsal(
        RehearsalCatalog(*models(m=cut(times=2))), [(["x/m"], 250)], Limits(max_turns=5000, max_tokens=most)
    ).run()

    concludes(one)
    assert one.used.tokens <= most


@pytest.mark.parametrize(
    ("agents", "limits"),
    [
        ([(["x/m"], 250)], Limits(max_turns=9, max_tokens=700)),
        ([(["x/cheap", "x/dear"], 250)], Limits(max_turns=9, max_cost_usd=0.001)),
    ],
)
async def test_an_attempt_is_charged_once_also_if_the_turn_fails_for_it_in_the_end(agents, limits):
    catalog = RehearsalCatalog(*models(m=cut(times=99), cheap=cut(times=99)))
    one = await Rehearsal(catalog, agents, limits).run()

    calls = sum(len(catalog.get(name).asked) for name in ("x/m", "x/cheap", "x/dear"))
    charged = [event.data["usage"] for event in one.log if event.data.get("usage")]
    assert len(charged) == calls > 1
    assert one.log[-1].data.get("reason") == "turn_failed" or one.types()[-2:] == ["turn.failed", "discussion.ended"]
    assert limits.most.without(one.used).lacks(Spending()) is None


@pytest.mark.parametrize("most", range(1500, 6000, 331))
@pytest.mark.parametrize("policy", [{"type": "bidding"}, {"type": "moderator", "moderator": "a0"}])
async def test_questions_that_break_off_take_no_more_than_was_set_aside_for_them(most, policy):
    async def cut_where_asked(request, number):
        async for delta in talk(request, number):
            yield delta
            if request.max_tokens == QUESTION_TOKENS:
                raise ModelDisconnected("the connection was lost")

    three = [RehearsalModel(f"x/{name}", cut_where_asked) for name in "abc"]
    bank = Bank(Left(tokens=most))
    one = await Rehearsal(
        RehearsalCatalog(*three),
        [(["x/a", "x/b", "x/c"], 120)] * 3,
        Limits(max_turns=5000, max_tokens=most),
        bank,
        policy=policy,
    ).run()

    concludes(one)
    assert one.used.tokens <= most
    assert bank.most.tokens <= most


@pytest.mark.parametrize("policy", [{"type": "bidding"}, {"type": "moderator", "moderator": "a0"}])
@pytest.mark.parametrize("most", range(1500, 6000, 331))
async def test_a_limit_that_questions_to_models_draw_on_too(most, policy):
    one = await Rehearsal(
        RehearsalCatalog(*models()), [(["x/m"], 200)] * 3, Limits(max_turns=5000, max_tokens=most), policy=policy
    ).run()

    concludes(one)
    assert one.used.tokens <= most


@pytest.mark.parametrize("longest", [1, 20, 60, 300, 1500])
@pytest.mark.parametrize("most", range(1500, 6000, 331))
async def test_a_budget_of_tokens(most, longest):
    bank = Bank(Left(tokens=most))
    one = await Rehearsal(RehearsalCatalog(*models()), [(["x/m"], longest)], Limits(max_turns=5000), bank).run()

    concludes(one)
    assert bank.most.tokens <= most
    assert one.log[-1].data["end_reason"] == "max_tokens"
    assert "the daily budget of tokens" in one.log[-1].data["detail"]
    assert bank.reserved == {}


@pytest.mark.parametrize("agents", [SOLO, UNEQUAL, UNEQUAL[::-1], [(["x/cheap", "x/dear"], 300)]])
@pytest.mark.parametrize("turn", [1, 2, 3, 4])
async def test_a_budget_of_dollars_that_others_take_the_rest_of_at_any_turn(turn, agents):
    bank = Bank(Left(cost_usd=0.06))

    def others(ledger):
        if ledger.table.state.turn == turn and ledger.table.state.turn_message_id and len(bank.reserved) == 1:
            bank.take_the_rest()

    one = await Rehearsal(RehearsalCatalog(*models()), agents, Limits(max_turns=5000), bank, after_write=others).run()

    concludes(one)
    assert bank.most.cost_usd <= 0.06 + 1e-12


@pytest.mark.parametrize("most", range(900, 2200, 53))
async def test_a_budget_with_attempts_that_are_cut_and_charged_while_others_take_what_is_given_back(most):
    bank = Bank(Left(tokens=most))

    def others(ledger):
        if ledger.log and ledger.log[-1].type == "turn.retried":
            bank.take_the_rest()

    one = await Rehearsal(
        RehearsalCatalog(*models(m=cut(times=1))), [(["x/m"], 250)], Limits(max_turns=5000), bank, after_write=others
    ).run()

    concludes(one)
    assert bank.most.tokens <= most


async def test_a_last_turn_that_is_cut_keeps_what_is_left_of_its_room_from_others():
    bank = Bank(Left(tokens=800))

    async def cut_soon(request, number):
        if number == 1:
            yield TextDelta("hello")
            raise ModelDisconnected("the connection was lost")
        async for delta in talk(request, number):
            yield delta

    def others(ledger):
        if ledger.log and ledger.log[-1].type == "turn.retried":
            bank.take_the_rest()

    catalog = RehearsalCatalog(*models(m=cut_soon))
    one = await Rehearsal(catalog, [(["x/m"], 900)], Limits(max_turns=9), bank, after_write=others).run()

    concludes(one)
    assert one.types().count("limit.warning") == 1
    assert bank.most.tokens <= 800


async def test_what_is_said_while_a_model_is_left_alone_makes_no_call_larger_than_what_was_set_aside():
    bank, said = Bank(Left(tokens=2000)), []

    async def unavailable_once(request, number):
        if number == 1:
            bank.take_the_rest()
            one.table.heard(Utterance.of("bob", "word " * 1500, uuid4(), None))
            raise ModelUnavailable("later")
        said.append(worst_case(model, request).tokens)
        async for delta in talk(request, number):
            yield delta

    model = RehearsalModel("x/m", unavailable_once)
    one = Rehearsal(RehearsalCatalog(model), SOLO, Limits(max_turns=1), bank)
    await one.run()

    assert one.types()[-2:] == ["message.completed", "discussion.ended"]
    assert len(said) == 1
    assert bank.most.tokens <= 2000


async def test_a_model_that_the_budget_has_no_room_for_leaves_the_turn_to_one_that_it_has_room_for():
    bank = Bank(Left(cost_usd=0.0005))
    catalog = RehearsalCatalog(*models())
    one = await Rehearsal(catalog, [(["x/dear", "x/cheap"], 300)], Limits(max_turns=3), bank).run()

    assert one.types().count("message.completed") >= 1
    assert catalog.get("x/dear").asked == []
    assert bank.most.cost_usd <= 0.0005


async def test_a_turn_whose_model_fails_and_whose_fallback_there_is_no_room_for_has_failed_for_the_model():
    catalog = RehearsalCatalog(*models(cheap=refuse))
    one = await Rehearsal(
        catalog, [(["x/cheap", "x/dear"], 300)], Limits(max_turns=3), Bank(Left(cost_usd=0.0005))
    ).run()

    failed = next(event for event in one.log if event.type == "turn.failed")
    assert failed.data["code"] == "model_unauthorized"
