"""Each turn policy by itself: whom it chooses, whom it asks, and what it makes of the answers."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.policies import (
    POLICIES,
    Choice,
    History,
    InvalidTurnPolicy,
    UnknownParticipant,
    UnknownTurnPolicy,
    check_policy,
    find_seat,
)
from app.domain.policies.bidding import parse_bid
from app.domain.policies.moderator import parse_choice
from app.domain.policies.references import mentioned
from tests.fixtures.rosters import Simulation, draw, roster, said, seat, spoke

ADA, BOB, CYD = TABLE = roster("ada", "bob", "cyd")
JUDGE = seat(9, "judge", role="moderator")
HUMAN = seat(8, "hugo", kind="human")


def make(kind, **config):
    return POLICIES[kind]({"type": kind, **config})


@pytest.mark.parametrize("reference", ["bob", "@bob", "@Bob", " BOB ", str(BOB.participant_id), str(BOB.agent_id)])
def test_a_participant_is_named_by_handle_or_id(reference):
    assert find_seat(reference, TABLE) == BOB


@pytest.mark.parametrize("reference", ["bo", "bob2", "", "@", "@@bob", "None", "Robert"])
def test_a_reference_that_names_nobody_finds_nobody(reference):
    assert find_seat(reference, [*TABLE, HUMAN]) is None


@pytest.mark.parametrize(
    ("text", "whom"),
    [
        ("What do you say, @bob?", ["bob"]),
        ("@BOB!", ["bob"]),
        ("(@bob) and @cyd, then @bob", ["bob", "cyd"]),
        ("**@bob**", ["bob"]),
        ("@bob--really", ["bob"]),
        ("@bob_", ["bob"]),
        ("@bobby knows", []),
        ("@bob-by knows", []),
        ("write to bob@ada.example or x@bob", []),
        ("@bob@elsewhere.example", []),
        ("bob", []),
        ("@ bob", []),
        ("你好@bob，", ["bob"]),
    ],
)
def test_an_address_is_a_whole_handle_and_no_part_of_an_email_address(text, whom):
    assert [seat.handle for seat in mentioned(text, TABLE)] == whom


def after_turns(*messages, speaker=ADA, **more):
    return History(3, speaker.participant_id, (spoke(3, speaker),), messages, **more)


def test_who_was_addressed_last_has_the_floor():
    choice = draw(make("mention"), TABLE, after_turns(said(ADA, 3, "I ask @cyd."), said(CYD, 2, "@bob, no.")))

    assert choice == Choice(CYD.participant_id, "mention: by @ada")


def test_who_addresses_only_themselves_or_strangers_addresses_nobody():
    choice = draw(make("mention"), TABLE, after_turns(said(ADA, 3, "I, @ada, ask @dan.")))

    assert choice == Choice(BOB.participant_id, "mention: nobody, round_robin")


def test_words_outside_the_speaking_order_address_too_and_the_newest_count():
    guest = seat(77, "guest")
    history = after_turns(said(guest, None, "@ada, please go on"), said(ADA, 3, "@bob"))

    assert draw(make("mention"), TABLE, history) == Choice(ADA.participant_id, "mention: by a guest")


def test_words_from_before_the_last_turn_address_nobody_any_more():
    history = after_turns(said(ADA, 3, "Well."), said(BOB, 2, "@cyd?"))

    assert draw(make("mention"), TABLE, history).participant_id == BOB.participant_id


def test_who_had_nothing_to_say_is_not_asked_again_for_the_same_words():
    """Two agents that pass must not hold up the discussion."""
    question = said(HUMAN, None, "@bob?")
    passed = History(4, BOB.participant_id, (spoke(4, BOB, "passed"), spoke(3, ADA)), (question, said(ADA, 3, "Hm.")))

    assert draw(make("mention"), TABLE, passed) == Choice(CYD.participant_id, "mention: nobody, round_robin")


def test_the_fallback_may_be_a_weighted_draw():
    policy = make("mention", fallback={"type": "random", "weights": {"ada": 0, "bob": 0}})

    choice = draw(policy, TABLE, after_turns(said(ADA, 3, "Well.")))

    assert choice == Choice(CYD.participant_id, "mention: nobody, random")


def test_a_seat_is_drawn_as_often_as_its_weight_says_and_without_one_counts_one():
    policy = make("random", weights={"@ada": 2, "bob": 0})

    drawn = Counter(draw(policy, TABLE, History(0, None), seed).participant_id for seed in range(3000))

    assert drawn[BOB.participant_id] == 0
    assert 1.8 < drawn[ADA.participant_id] / drawn[CYD.participant_id] < 2.2


def test_when_only_those_without_weight_are_left_they_are_equal():
    policy = make("random", weights={"ada": 0, "bob": 0})

    drawn = {draw(policy, [ADA, BOB], History(0, None), seed).participant_id for seed in range(50)}

    assert drawn == {ADA.participant_id, BOB.participant_id}


MODERATED = [ADA, BOB, CYD, JUDGE]


@pytest.mark.parametrize(
    ("answer", "whom"),
    [
        ('{"next": "bob"}', BOB),
        ('{"next": "@Bob"}', BOB),
        ('{"next": "Bob", "why": "ada spoke"}', BOB),
        ('```json\n{"next": "cyd"}\n```', CYD),
        ('Well: {"next": "cyd"}, since @bob was long.', CYD),
        ("I give the floor to @cyd.", CYD),
        ("Cyd", CYD),
        ("cyd should answer", CYD),
        ('{"next": "ada"}', None),
        ("@ada again", None),
        ("Not ada, but @bob", BOB),
        ("Not @ada, but @bob", None),
        ("ada or bob", None),
        ('{"next": "dan"}', None),
        ('{"next": ["bob"]}', None),
        ('{"next": null}', None),
        ('{"speaker": "bob"}', None),
        ("bobcyd", None),
        ("", None),
        ("{" * 5000, None),
    ],
)
def test_a_moderators_answer_chooses_an_eligible_seat_or_nobody(answer, whom):
    assert parse_choice(answer, TABLE, [BOB, CYD]) == (whom.participant_id if whom else None)


def test_the_moderator_is_asked_who_of_the_eligible_is_next():
    [question] = make("moderator").questions(MODERATED, after_turns())

    assert question.participant_id == JUDGE.participant_id
    assert "bob, cyd." in question.text
    assert question.schema["properties"]["next"]["enum"] == ["bob", "cyd"]


def test_a_moderator_may_speak_and_speakers_may_repeat_where_that_is_allowed():
    policy = make("moderator", moderator="@bob", moderator_speaks=True, allow_repeat=True)

    [question] = policy.questions(TABLE, after_turns())

    assert question.participant_id == BOB.participant_id
    assert question.schema["properties"]["next"]["enum"] == ["ada", "bob", "cyd"]


def test_the_answer_of_the_moderator_is_followed():
    history = after_turns(answers={JUDGE.participant_id: CYD.participant_id})

    assert draw(make("moderator"), MODERATED, history) == Choice(CYD.participant_id, "moderator: chosen by @judge")


def test_without_a_usable_answer_the_longest_waiting_speaks():
    history = History(3, ADA.participant_id, (spoke(3, ADA), spoke(2, BOB), spoke(1, CYD)))

    choice = draw(make("moderator"), MODERATED, history)

    assert choice == Choice(CYD.participant_id, "moderator fallback: no usable answer, longest waiting")


def test_an_answer_that_names_somebody_who_has_left_is_no_answer():
    history = after_turns(answers={JUDGE.participant_id: CYD.participant_id})

    assert draw(make("moderator"), [ADA, BOB, JUDGE, seat(5)], history).reason.startswith("moderator fallback")


def test_where_one_is_eligible_nobody_is_asked():
    policy = make("moderator")

    assert policy.questions([ADA, BOB, JUDGE], after_turns()) == ()
    assert draw(policy, [ADA, BOB, JUDGE], after_turns()) == Choice(BOB.participant_id, "moderator: nobody else")


def test_a_moderator_who_is_alone_or_has_left_does_not_stop_the_discussion():
    assert draw(make("moderator"), [JUDGE], after_turns()).participant_id == JUDGE.participant_id
    assert "no moderator at the table" in draw(make("moderator"), TABLE, after_turns()).reason


@given(
    answers=st.lists(st.sampled_from(["ada", "bob", "cyd", "judge", "garbage", ""]), min_size=1, max_size=40),
    allow_repeat=st.booleans(),
)
def test_a_fallback_never_gives_the_floor_to_the_speaker_just_excluded(answers, allow_repeat):
    given_answers = iter(answers)
    discussion = Simulation(
        {"type": "moderator", "allow_repeat": allow_repeat},
        list(MODERATED),
        answer=lambda seat, question: f'{{"next": "{next(given_answers)}"}}',
    )
    before = None
    for speaker in discussion.run(len(answers)):
        if not allow_repeat or "fallback" in discussion.reasons[-1]:
            assert speaker != before
        before = speaker


@pytest.mark.parametrize(
    ("answer", "bid"),
    [
        ('{"bid": 7}', 7),
        ('{"bid": "3"}', 3),
        ('Sure! ```json\n{"bid": 0}\n```', 0),
        ("8", 8),
        ("8/10", 8),
        ("I'd say 4 out of 10.", 4),
        ("7.5", 7.5),
        ('{"bid": 11}', None),
        ('{"bid": -1}', None),
        ('{"bid": NaN}', None),
        ('{"bid": true}', None),
        ('{"bid": null}', None),
        ("between 2 and 5", None),
        ("-3", None),
        ("100", None),
        ("", None),
        ("ten", None),
        ('{"bid": 1' + "0" * 400 + "}", None),
    ],
)
def test_a_bid_is_a_number_from_zero_to_ten(answer, bid):
    assert parse_bid(answer) == bid


def test_all_agents_but_the_last_speaker_are_asked():
    asked = [question.participant_id for question in make("bidding").questions([*TABLE, HUMAN], after_turns())]

    assert asked == [BOB.participant_id, CYD.participant_id]


def test_an_agent_that_is_alone_is_not_asked_and_speaks():
    policy = make("bidding")

    assert policy.questions([ADA], after_turns()) == ()
    assert draw(policy, [ADA], after_turns()).participant_id == ADA.participant_id


def bids(**by_handle):
    return {one.participant_id: by_handle[one.handle] for one in TABLE if one.handle in by_handle}


def test_the_highest_bid_has_the_floor():
    history = after_turns(answers=bids(bob=3.0, cyd=8.0))

    assert draw(make("bidding"), TABLE, history) == Choice(CYD.participant_id, "bidding: 8 of 10")


def test_a_tie_goes_to_who_has_waited_longest_then_by_seating_order():
    waited = History(3, ADA.participant_id, (spoke(3, ADA), spoke(2, BOB)), answers=bids(bob=5.0, cyd=5.0))
    equal = after_turns(answers=bids(bob=5.0, cyd=5.0))

    assert draw(make("bidding"), TABLE, waited).participant_id == CYD.participant_id
    assert draw(make("bidding"), TABLE, equal).participant_id == BOB.participant_id


def test_no_usable_bid_counts_nothing():
    history = after_turns(answers={BOB.participant_id: None, CYD.participant_id: 1.0})

    assert draw(make("bidding"), TABLE, history).participant_id == CYD.participant_id
    assert draw(make("bidding"), TABLE, after_turns()).reason == "bidding: nobody bid"


def test_people_bid_what_the_policy_says():
    history = after_turns(answers=bids(bob=5.0, cyd=4.0))

    assert draw(make("bidding"), [*TABLE, HUMAN], history).participant_id == BOB.participant_id
    assert draw(make("bidding", default_bid=6), [*TABLE, HUMAN], history).participant_id == HUMAN.participant_id


@pytest.mark.parametrize(
    ("config", "kind", "loc"),
    [
        ({"type": "loudest"}, UnknownTurnPolicy, ["type"]),
        ({"type": "random", "weights": {"dan": 1}}, UnknownParticipant, ["weights", "dan"]),
        ({"type": "random", "weights": {"ada": 0, "bob": 0, "cyd": 0, "hugo": 0}}, InvalidTurnPolicy, ["weights"]),
        ({"type": "random", "weights": {"ada": -1}}, InvalidTurnPolicy, ["weights", "ada"]),
        ({"type": "random", "weights": {"ada": float("nan")}}, InvalidTurnPolicy, ["weights", "ada"]),
        ({"type": "random", "weights": {"ada": 1, "@ada": 2}}, InvalidTurnPolicy, ["weights", "@ada"]),
        ({"type": "mention", "fallback": {"type": "mention"}}, InvalidTurnPolicy, ["fallback", "type"]),
        ({"type": "mention", "fallback": {"type": "random", "weights": {"dan": 1}}}, UnknownParticipant, None),
        ({"type": "moderator"}, InvalidTurnPolicy, ["moderator"]),
        ({"type": "moderator", "moderator": "dan"}, UnknownParticipant, ["moderator"]),
        ({"type": "moderator", "moderator": "hugo"}, InvalidTurnPolicy, ["moderator"]),
    ],
)
def test_a_configuration_that_cannot_work_at_this_table_is_refused(config, kind, loc):
    with pytest.raises(kind) as refused:
        check_policy(config, [*TABLE, HUMAN])

    assert type(refused.value) is kind
    if loc is not None:
        assert refused.value.loc == ("body", "turn_policy", *loc)


def test_a_moderator_needs_somebody_to_choose_from():
    with pytest.raises(InvalidTurnPolicy, match="nobody to choose from"):
        check_policy({"type": "moderator"}, [JUDGE])


@pytest.mark.parametrize(
    "config",
    [
        {"type": "round_robin"},
        {"type": "random", "weights": {"ada": 0, "bob": 0}},
        {"type": "mention", "fallback": {"type": "random"}},
        {"type": "moderator", "moderator": "ada"},
        {"type": "bidding"},
        {"type": "manual"},
    ],
)
def test_a_configuration_that_can_work_is_accepted(config):
    check_policy(config, TABLE)
