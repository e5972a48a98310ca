"""Scripts and the ready formats: everybody whom a phase names speaks once a round, and then it is over."""

from collections import Counter
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.policies import Brief, History, InvalidTurnPolicy, UnknownParticipant, check_policy, settle_policy
from app.domain.policies.formats import FORMATS
from app.domain.policies.phases import Phase
from app.domain.policies.scripted import Scripted
from app.schemas.policies import FormatName
from tests.fixtures.rosters import Simulation, roster, seat

ADA, BOB, CYD = TABLE = roster("ada", "bob", "cyd")
JUDGE = seat(9, "judge", role="moderator")


def script(*phases, **config):
    return {"type": "scripted", **({"phases": list(phases)} if phases else {}), **config}


def order(config, seats, most=500):
    discussion = Simulation(config, list(seats))
    return [speaker.handle for speaker in discussion.run(most)], discussion.reasons


def test_phases_follow_each_other_and_then_it_is_over():
    spoke, reasons = order(
        script(
            {"name": "opening", "speakers": ["bob", "@ada"]},
            {"name": "rebuttal", "speakers": [str(CYD.participant_id)], "rounds": 2},
        ),
        TABLE,
    )

    assert spoke == ["bob", "ada", "cyd", "cyd"]
    assert reasons == ["scripted: opening", "scripted: opening", "scripted: rebuttal 1/2", "scripted: rebuttal 2/2"]


@pytest.mark.parametrize(
    ("phase", "speakers"),
    [
        ({"speakers": "all"}, ["ada", "bob", "cyd", "judge"]),
        ({"speakers": "others"}, ["ada", "bob", "cyd"]),
        ({"speakers": "moderator"}, ["judge"]),
        ({"speakers": "bob"}, ["bob"]),
        ({"speakers": "all", "except": ["bob"]}, ["ada", "cyd", "judge"]),
        ({"speakers": "others", "except": ["@ada", "cyd"]}, ["bob"]),
        ({"speakers": ["cyd", "others"]}, ["cyd", "ada", "bob"]),
        ({"speakers": ["moderator", "ada"]}, ["judge", "ada"]),
    ],
)
def test_speakers_are_named_or_selected(phase, speakers):
    assert order(script(phase), [*TABLE, JUDGE])[0] == speakers


def test_without_a_moderator_that_word_may_be_somebodys_handle():
    assert order(script({"speakers": ["moderator"]}), [ADA, seat(7, "moderator")])[0] == ["moderator"]


@given(data=st.data())
def test_everybody_whom_a_script_names_gets_exactly_their_turns(data):
    """In the place of the starvation bound, which a script is exempt from."""
    seats = roster(*(f"seat-{number}" for number in range(data.draw(st.integers(1, 6)))))
    handles = st.lists(st.sampled_from([one.handle for one in seats]), min_size=1, unique=True)
    phases = data.draw(
        st.lists(st.fixed_dictionaries({"speakers": handles, "rounds": st.integers(1, 4)}), min_size=1, max_size=5)
    )
    expected = Counter(handle for phase in phases for handle in phase["speakers"] * phase["rounds"])

    assert Counter(order(script(*phases), seats)[0]) == expected


@given(data=st.data())
def test_who_stays_gets_exactly_their_turns_however_others_come_and_go(data):
    seats = roster("ada", "bob", "cyd", "dan")
    phases = data.draw(
        st.lists(
            st.fixed_dictionaries({"speakers": st.sampled_from(["all", "others"]), "rounds": st.integers(1, 3)}),
            min_size=1,
            max_size=4,
        )
    )
    discussion, spoke, joined = Simulation(script(*phases), seats), Counter(), 0
    while True:
        event = data.draw(st.sampled_from(["", "", "join", "leave"])) if len(spoke) < 40 else ""
        if event == "join" and joined < 5:
            joined += 1
            discussion.seats.append(seat(50 + joined, f"late-{joined}", joined_turn=discussion.turn))
        elif event == "leave" and len(discussion.seats) > 2:
            discussion.seats.pop()
        speaker = discussion.take()
        if speaker is None:
            break
        spoke[speaker.handle] += 1
    rounds = sum(phase["rounds"] for phase in phases)
    stayed = {one.handle for one in discussion.seats} & {"ada", "bob"}
    assert {spoke[handle] for handle in stayed} == {rounds}
    assert max(spoke.values()) <= rounds


def test_a_phase_that_nobody_is_left_for_is_passed_over():
    config = script({"speakers": ["cyd"], "rounds": 100}, {"speakers": ["ada"]})

    assert order(config, [ADA, BOB])[0] == ["ada"]


def test_the_speaker_is_told_the_phases_instruction_and_what_it_may_see():
    policy = Scripted(
        script({"speakers": "all"}, {"speakers": "all", "instruction": "Review.", "blind": True, "anonymous": True})
    )
    first = policy.next_speaker(TABLE, History(0, None), Random(1))
    state = {"phase": 0, "round": 1, "done": [str(one.participant_id) for one in TABLE], "since": 0}
    second = policy.next_speaker(TABLE, History(3, CYD.participant_id, state=state), Random(1))
    third = policy.next_speaker(TABLE, History(4, ADA.participant_id, state=second.state), Random(1))

    assert policy.brief(ADA, first.state) == Brief()
    assert policy.brief(ADA, second.state) == Brief("Review.", blind_since=3, is_anonymous=True)
    assert policy.brief(BOB, third.state) == Brief("Review.", blind_since=3, is_anonymous=True)


@pytest.mark.parametrize("state", [None, {}, {"phase": "x"}, {"bids": 3}, {"phase": 1, "round": 1, "since": 0}])
def test_the_state_of_another_policy_begins_the_script(state):
    policy = Scripted(script({"speakers": ["bob"]}))

    choice = policy.next_speaker(TABLE, History(7, None, state=state), Random(1))

    assert (choice.participant_id, choice.state["since"]) == (BOB.participant_id, 7)
    assert policy.brief(BOB, state) == Brief()


def test_a_script_that_became_shorter_is_over():
    state = {"phase": 3, "round": 1, "done": [], "since": 0}
    policy = Scripted(script({"speakers": ["bob"]}))

    assert policy.next_speaker(TABLE, History(7, None, state=state), Random(1)) is None
    assert policy.brief(BOB, state) == Brief()


@pytest.mark.parametrize(
    ("config", "kind", "loc"),
    [
        (script({"speakers": ["dan"]}), UnknownParticipant, ["phases", 0, "speakers", 0]),
        (script({"speakers": "all", "except": ["dan"]}), UnknownParticipant, ["phases", 0, "except", 0]),
        (script({"speakers": "all"}, {"speakers": []}), InvalidTurnPolicy, ["phases", 1, "speakers"]),
        (script({"speakers": ["ada"], "except": ["ada"]}), InvalidTurnPolicy, ["phases", 0, "speakers"]),
        (script({"speakers": "moderator"}), InvalidTurnPolicy, ["phases", 0, "speakers"]),
        (script({"speakers": ["ada", "@ada"]}), InvalidTurnPolicy, ["phases", 0, "speakers", 1]),
        (script(*[{"speakers": "all", "rounds": 100}] * 40), InvalidTurnPolicy, ["phases"]),
        (script(format="council", seats={"chair": "dan"}), UnknownParticipant, ["seats", "chair", 0]),
        (script(format="council", seats={"pope": "ada"}), InvalidTurnPolicy, ["seats", "pope"]),
        (script(format="council", seats={"chair": "ada", "members": ["ada", "bob"]}), InvalidTurnPolicy, None),
        (script(format="council", seats={"chair": ["ada", "bob"]}), InvalidTurnPolicy, ["seats", "chair"]),
        (script(format="interview", seats={"interviewer": ["ada", "bob"]}), InvalidTurnPolicy, None),
    ],
)
def test_a_script_that_cannot_be_played_at_this_table_is_refused(config, kind, loc):
    with pytest.raises(kind) as refused:
        check_policy(config, TABLE)

    assert type(refused.value) is kind
    if loc is not None:
        assert refused.value.loc == ("body", "turn_policy", *loc)


def test_the_wire_knows_the_formats():
    assert set(get_args(FormatName)) == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_needs_as_many_as_it_says(name):
    fewest = FORMATS[name].fewest_seats
    check_policy(script(format=name), TABLE[:fewest] + roster("dan", "eve", "fay")[: max(0, fewest - 3)])

    with pytest.raises(InvalidTurnPolicy, match="needs"):
        check_policy(script(format=name), TABLE[: fewest - 1])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("with_moderator", [False, True])
def test_a_format_ends_and_gives_everybody_the_floor(name, with_moderator):
    seats = [*TABLE, JUDGE] if with_moderator else TABLE

    spoke, _ = order(script(format=name), seats)

    assert set(spoke) == {one.handle for one in seats}


def test_a_council_answers_reviews_and_concludes():
    spoke, reasons = order(script(format="council", seats={"chair": "bob"}), TABLE)

    assert spoke == ["ada", "cyd", "ada", "cyd", "bob"]
    assert reasons == ["scripted: answers"] * 2 + ["scripted: reviews"] * 2 + ["scripted: conclusion"]


def test_a_chair_is_the_moderator_or_the_first_seat():
    assert order(script(format="council"), [*TABLE, JUDGE])[0][-1] == "judge"
    assert order(script(format="council"), TABLE)[0][-1] == "ada"


def test_the_rounds_of_a_formats_repeated_phase_may_be_set():
    _, reasons = order(script(format="debate", rounds=3), [ADA, BOB])

    assert [reason.rpartition(" ")[2] for reason in reasons if "rebuttal" in reason] == ["1/3"] * 2 + ["2/3"] * 2 + [
        "3/3"
    ] * 2


def test_the_sides_of_a_debate_take_turns_and_are_told_which_they_are():
    discussion = Simulation(script(format="debate", seats={"for": ["cyd"]}), [*TABLE, JUDGE])

    opening = [discussion.take().handle for _ in range(3)]

    assert opening == ["cyd", "ada", "bob"]
    policy = Scripted(discussion.config)
    assert "against" in policy.brief(BOB, discussion.state).instruction
    assert "in favour" in policy.brief(CYD, {**discussion.state, "role": "for"}).instruction


def test_nobody_changes_sides_when_somebody_leaves():
    config = settle_policy(script(format="debate"), [*TABLE, JUDGE])

    assert config["seats"] == {"for": ["ada", "cyd"], "against": ["bob"], "judge": ["judge"]}
    discussion = Simulation(config, [BOB, CYD, JUDGE])
    assert [discussion.take().handle for _ in range(2)] == ["cyd", "bob"]


def test_the_members_of_a_council_stay_open_to_those_who_join():
    config = settle_policy(script(format="council"), [*TABLE, JUDGE])

    assert config["seats"] == {"chair": ["judge"]}
    assert order(config, [*TABLE, JUDGE, seat(20, "late")])[0].count("late") == 2


def test_when_the_chair_has_left_another_concludes():
    config = settle_policy(script(format="council"), [*TABLE, JUDGE])

    assert order(config, TABLE)[0][-1] == "ada"


def test_every_phase_of_a_format_speaks_of_its_roles_and_has_an_instruction():
    for form in FORMATS.values():
        roles = {role.name for role in form.roles}
        assert form.repeated in {phase.name for phase in form.phases}
        for phase in form.phases:
            assert set(phase.speakers) <= roles
            assert phase.instruction or phase.instructions.keys() == set(phase.speakers)


def test_a_phase_without_a_name_has_a_number():
    assert Phase.of({"speakers": "all"}, 2).name == "phase 2"
