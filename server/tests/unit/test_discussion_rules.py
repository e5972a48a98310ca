"""The rules of a discussion: its lifecycle, who speaks, when it ends, how members may act."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.discussion import IllegalTransition, Status, Step, advance
from app.domain.limits import Limits
from app.domain.permissions import Permission, Role, allows
from app.domain.policies import POLICIES, History, RoundRobin, SelfDeciding
from app.domain.progress import Table
from tests.fixtures.rosters import seat

LEGAL = {
    (Status.DRAFT, Step.START): Status.RUNNING,
    (Status.DRAFT, Step.STOP): Status.ENDED,
    (Status.RUNNING, Step.WAIT): Status.WAITING,
    (Status.RUNNING, Step.PAUSE): Status.PAUSED,
    (Status.RUNNING, Step.INTERRUPT): Status.PAUSED,
    (Status.RUNNING, Step.FAIL): Status.PAUSED,
    (Status.RUNNING, Step.STOP): Status.ENDED,
    (Status.RUNNING, Step.END): Status.ENDED,
    (Status.WAITING, Step.GO_ON): Status.RUNNING,
    (Status.WAITING, Step.PAUSE): Status.PAUSED,
    (Status.WAITING, Step.INTERRUPT): Status.PAUSED,
    (Status.WAITING, Step.STOP): Status.ENDED,
    (Status.WAITING, Step.END): Status.ENDED,
    (Status.PAUSED, Step.RESUME): Status.RUNNING,
    (Status.PAUSED, Step.STOP): Status.ENDED,
}


@pytest.mark.parametrize("current", Status)
@pytest.mark.parametrize("step", Step)
def test_the_lifecycle_allows_these_steps_and_no_others(current, step):
    if (current, step) in LEGAL:
        assert advance(current, step) == LEGAL[current, step]
    else:
        with pytest.raises(IllegalTransition, match=f"{current} does not allow the step `{step}`"):
            advance(current, step)


def seats(count, kind="llm"):
    return [seat(number, kind=kind) for number in range(1, count + 1)]


def speak(roster, last, turns):
    """Who speaks in the next `turns` turns."""
    order = []
    for turn in range(turns):
        last = RoundRobin().next_speaker(roster, History(turn, last), Random(0)).participant_id
        order.append(last)
    return order


@given(count=st.integers(1, 20), rounds=st.integers(1, 4))
def test_everybody_speaks_once_a_round_in_seating_order(count, rounds):
    roster = seats(count)

    assert speak(roster, None, count * rounds) == [seat.participant_id for seat in roster] * rounds


@given(count=st.integers(2, 12), data=st.data())
def test_the_round_goes_on_from_the_last_speaker_when_others_have_left(count, data):
    roster = seats(count)
    last = data.draw(st.sampled_from(roster))
    gone = data.draw(st.sets(st.sampled_from([seat for seat in roster if seat != last]), max_size=count - 2))
    left = [seat for seat in roster if seat not in gone]

    following = speak(left, last.participant_id, 1)

    assert following == [left[(left.index(last) + 1) % len(left)].participant_id]


def test_the_round_begins_anew_when_the_last_speaker_has_left():
    roster = seats(3)

    assert speak(roster[:2], roster[2].participant_id, 2) == [roster[0].participant_id, roster[1].participant_id]


@given(count=st.integers(1, 10), leaves=st.lists(st.integers(0, 9), max_size=8))
def test_nobody_starves_however_people_leave(count, leaves):
    roster, last, waited = seats(count), None, {}
    for turn, leave in enumerate([*leaves, *range(20)]):
        if len(roster) > 1 and leave < len(roster) and turn < len(leaves):
            roster = [seat for place, seat in enumerate(roster) if place != leave]
        last = speak(roster, last, 1)[0]
        waited = {seat.participant_id: waited.get(seat.participant_id, 0) + 1 for seat in roster} | {last: 0}
        assert max(waited.values()) <= 2 * count


def table(**changes):
    rules = {"turn_policy": {"type": "round_robin"}, "limits": Limits(max_turns=5), "stop_when": [], "seed": None}
    return Table(seats=seats(2), **{**rules, **changes})


def test_a_table_says_who_speaks_and_why():
    speaker = table().choose(History(0, None)).speaker

    assert (speaker.handle, speaker.reason) == ("seat-1", "round_robin")


def test_a_policy_that_names_a_stranger_is_a_fault_of_ours(monkeypatch):
    class Stranger(SelfDeciding):
        def next_speaker(self, roster, history, rng):
            return RoundRobin().next_speaker(seats(9)[5:], history, rng)

    monkeypatch.setitem(POLICIES, "stranger", Stranger)

    with pytest.raises(RuntimeError, match="not at the table"):
        table(turn_policy={"type": "stranger"}).choose(History(0, None))


@pytest.mark.parametrize(("kind", "waits"), [("llm", False), ("human", True), ("external", True)])
def test_only_turns_that_come_from_outside_are_waited_for(kind, waits):
    assert seats(1, kind)[0].needs_waiting == waits


def test_a_stronger_role_may_do_all_that_a_weaker_may():
    for weaker, stronger in pairwise(Role):
        assert all(allows(stronger, permission) for permission in Permission if allows(weaker, permission))


def test_a_viewer_only_reads():
    assert {permission for permission in Permission if allows(Role.VIEWER, permission)} == {
        permission for permission in Permission if permission.endswith(":read")
    } - {Permission.AUDIT_READ}
