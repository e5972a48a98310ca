"""No speaker starves, whatever the policy: whoever has waited more than two rounds gets the floor."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.policies import POLICIES, Choice, SelfDeciding
from tests.fixtures.rosters import Simulation, seat


class SameAgain(SelfDeciding):
    """The worst that a policy can do."""

    def next_speaker(self, roster, history, rng):
        return Choice(roster[0].participant_id, "same again")


CONFIGURATIONS = {
    "round_robin": st.just({}),
    "random": st.fixed_dictionaries({"weights": st.just({"seat-1": 1_000_000, "seat-2": 0})}),
    "mention": st.sampled_from([{}, {"fallback": {"type": "random", "weights": {"seat-1": 1_000_000}}}]),
    "moderator": st.fixed_dictionaries({"moderator_speaks": st.booleans(), "allow_repeat": st.booleans()}),
    "bidding": st.fixed_dictionaries({"default_bid": st.integers(0, 10)}),
    "manual": st.just({}),
}
ORDERED = {"scripted"}
"""Exempt: the script is the promise there. `test_scripted` proves that everybody gets exactly their turns."""


def test_every_policy_is_held_to_this():
    assert set(POLICIES) == CONFIGURATIONS.keys() | ORDERED


@pytest.mark.parametrize("kind", [*CONFIGURATIONS, "same_again"])
@given(data=st.data())
def test_nobody_who_takes_turns_starves_however_people_come_and_go(kind, data):
    """Overdue is who waited two rounds; where several are at once, the last of them waits one more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(POLICIES, "same_again", SameAgain)
        discussion = _discussion(kind, data)
        waited, largest, came = Counter(), len(discussion.seats), len(discussion.seats)
        for _ in range(data.draw(st.integers(1, 60))):
            came += _come_and_go(discussion, data, came)
            largest = max(largest, len(discussion.seats))
            speaker = discussion.take()
            assert speaker in discussion.seats
            waited.update(one.participant_id for one in _candidates(discussion))
            waited[speaker.participant_id] = 0
            assert all(waited[one.participant_id] <= 3 * largest for one in discussion.seats)


def _discussion(kind, data):
    config = {"type": kind, **data.draw(CONFIGURATIONS.get(kind, st.just({})))}
    seats = [
        seat(number, kind=data.draw(st.sampled_from(["llm", "llm", "human", "external"])), role=role)
        for number, role in enumerate(data.draw(st.lists(st.sampled_from(["speaker", "moderator"]), min_size=1)), 1)
    ][:8]
    favourite = data.draw(st.integers(0, 9))
    return Simulation(
        config,
        seats,
        answer=lambda seat, question: data.draw(
            st.sampled_from(['{"next": "seat-1"}', '{"next": "seat-2"}', '{"bid": 10}', '{"bid": 0}', "garbage"])
        ),
        choose=lambda seats: seats[favourite % len(seats)],
        say=lambda seat, turn: "@seat-1 and @seat-2 only",
    )


def _candidates(discussion):
    return POLICIES[discussion.config["type"]](discussion.config).candidates(discussion.seats)


def _come_and_go(discussion, data, came):
    """Somebody joins or leaves, or not; how many came."""
    event = data.draw(st.sampled_from(["", "", "", "join", "leave"]))
    if event == "join" and len(discussion.seats) < 8:
        discussion.seats.append(seat(came + 1, joined_turn=discussion.turn))
        return 1
    if event == "leave" and len(discussion.seats) > 1:
        discussion.seats.pop(data.draw(st.integers(0, len(discussion.seats) - 1)))
    return 0


@pytest.mark.parametrize("kind", CONFIGURATIONS)
@given(seed=st.integers(0, 2**53), data=st.data())
def test_the_same_seed_gives_the_same_order(kind, seed, data):
    config = {"type": kind, **data.draw(CONFIGURATIONS[kind])}
    roles = ["moderator", "speaker", "speaker", "speaker"]

    orders = []
    for _ in range(2):
        discussion = Simulation(config, [seat(number, role=role) for number, role in enumerate(roles, 1)], seed=seed)
        orders.append([speaker.handle for speaker in discussion.run(20)])

    assert orders[0] == orders[1]


def test_another_seed_gives_another_order():
    orders = {
        tuple(speaker.handle for speaker in Simulation({"type": "random"}, [seat(1), seat(2)], seed=seed).run(20))
        for seed in range(5)
    }

    assert len(orders) == 5


def test_who_has_waited_too_long_gets_the_floor_for_that_reason():
    discussion = Simulation({"type": "random", "weights": {"seat-2": 0}}, [seat(1), seat(2)])

    order = [speaker.handle for speaker in discussion.run(6)]

    assert order == ["seat-1"] * 5 + ["seat-2"]
    assert discussion.reasons[-1] == "waited_too_long"


def test_nobody_is_asked_about_a_turn_that_is_somebodys_by_right():
    asked = []

    def answer(seat, question):
        asked.append(seat.handle)
        return '{"bid": 10}' if seat.handle == "seat-1" else '{"bid": 5}'

    discussion = Simulation({"type": "bidding"}, [seat(1), seat(2), seat(3, kind="human")], answer=answer)

    order = [speaker.handle for speaker in discussion.run(8)]

    assert order[7] == "seat-3"
    assert len(asked) == 2 + 6
