"""Policies of other packages: found by their entry points, and kept from breaking a discussion."""

import pytest
from structlog.testing import capture_logs

from app.domain.policies import (
    Brief,
    Choice,
    History,
    InvalidTurnPolicy,
    Question,
    SelfDeciding,
    UnknownTurnPolicy,
    check_policy,
    make_policy,
)
from app.domain.policies.plugins import MOST_STATE_CHARACTERS, GuardedPolicy
from tests.fixtures.rosters import Simulation, draw, roster, said, seat

ADA, BOB, CYD = TABLE = roster("ada", "bob", "cyd")
START = History(0, None)
FALLBACK = Choice(ADA.participant_id, "fallback: odd failed")


def guarded(**methods):
    """A plugin with these methods."""
    return GuardedPolicy("odd", type("Odd", (SelfDeciding,), methods), {"type": "odd"})


def choosing(choice):
    return guarded(next_speaker=lambda self, roster, history, rng: choice)


def raising(error):
    def method(*_arguments):
        raise error

    return method


def test_the_example_plugin_is_found_and_chooses(install_plugins):
    install_plugins(least_spoken="least_spoken:LeastSpoken")
    config = {"type": "least_spoken", "words": 40}
    check_policy(config, TABLE)
    policy = make_policy(config)
    history = History(2, BOB.participant_id, recent=(said(BOB, 2, "one two"), said(ADA, 1, "one")))

    assert draw(policy, TABLE, history) == Choice(CYD.participant_id, "least_spoken: 0 words")
    assert policy.brief(ADA, None) == Brief("Answer in about 40 words.")


def test_a_plugins_value_error_is_the_callers_fault(install_plugins):
    install_plugins(least_spoken="least_spoken:LeastSpoken")

    with pytest.raises(InvalidTurnPolicy, match="words must be a number from 1 to 1000"):
        check_policy({"type": "least_spoken", "words": 0}, TABLE)


def test_a_plugin_that_cannot_check_is_refused(install_plugins):
    source = "class Broken:\n    @staticmethod\n    def check(config, roster):\n        raise OSError('disk')\n"
    install_plugins(source, broken="plugins_of_this_test:Broken")

    with capture_logs() as logs, pytest.raises(InvalidTurnPolicy, match="failed to check its configuration"):
        check_policy({"type": "broken"}, TABLE)
    assert [line["event"] for line in logs] == ["turn_policy_failed"]


def test_a_plugin_that_cannot_be_imported_is_unknown_and_never_ends_a_discussion(install_plugins):
    install_plugins("raise ImportError('no such thing')", broken="plugins_of_this_test:Broken")

    with capture_logs() as logs, pytest.raises(UnknownTurnPolicy, match="cannot be loaded"):
        check_policy({"type": "broken"}, TABLE)
    assert draw(make_policy({"type": "broken"}), TABLE, START).reason == "fallback: broken failed"
    assert logs[0]["event"] == "turn_policy_not_loaded"


def test_a_plugin_that_is_no_longer_installed_gives_its_turns_to_round_robin():
    discussion = Simulation({"type": "gone"}, list(TABLE))

    assert [speaker.handle for speaker in discussion.run(4)] == ["ada", "bob", "cyd", "ada"]
    assert set(discussion.reasons) == {"fallback: gone failed"}


def test_a_plugin_does_not_replace_a_policy_of_ours(install_plugins):
    install_plugins("raise ImportError('loaded')", round_robin="plugins_of_this_test:Broken")

    assert draw(make_policy({"type": "round_robin"}), TABLE, START).reason == "round_robin"


@pytest.mark.parametrize(
    "policy",
    [
        guarded(next_speaker=raising(RuntimeError("boom"))),
        guarded(next_speaker=raising(SystemExit(1))),
        guarded(next_speaker=raising(RecursionError())),
        guarded(__init__=raising(ValueError("config"))),
        GuardedPolicy("odd", None, {}),
        GuardedPolicy("odd", "no class", {}),
        choosing(Choice(seat(99).participant_id, "a stranger")),
        choosing(Choice(str(ADA.participant_id), "an id as text")),
        choosing(ADA),
        choosing("ada"),
        choosing(Choice(ADA.participant_id, None)),
        choosing(Choice(ADA.participant_id, "state", ["a list"])),
        choosing(Choice(ADA.participant_id, "state", {"a": object()})),
        choosing(Choice(ADA.participant_id, "state", {"a": float("nan")})),
        choosing(Choice(ADA.participant_id, "state", {"a": "\0"})),
        choosing(Choice(ADA.participant_id, "state", {"a": "\ud800"})),
        choosing(Choice(ADA.participant_id, "state", {"a": "x" * MOST_STATE_CHARACTERS})),
    ],
)
def test_whatever_a_plugin_does_the_turn_goes_on_and_the_log_says_why(policy):
    with capture_logs() as logs:
        assert draw(policy, TABLE, START) == FALLBACK

    assert [(line["event"], line["policy"], line["log_level"]) for line in logs] == [
        ("turn_policy_failed", "odd", "error")
    ]


def test_a_failed_choice_keeps_the_policys_state():
    policy = guarded(next_speaker=raising(RuntimeError("boom")))

    assert draw(policy, TABLE, History(0, None, state={"kept": 1})).state == {"kept": 1}


def test_a_reason_is_cut_and_made_printable():
    choice = draw(choosing(Choice(BOB.participant_id, "a\0b\ud800" + "c" * 500)), TABLE, START)

    assert choice.participant_id == BOB.participant_id
    assert choice.reason.startswith("ab?cc")
    assert len(choice.reason) == 200


@pytest.mark.parametrize("step", ["candidates", "questions", "brief"])
def test_what_a_plugin_fails_to_say_is_said_for_it(step):
    policy = guarded(**{step: raising(RuntimeError("boom"))})

    with capture_logs() as logs:
        assert policy.candidates(TABLE) == TABLE
        assert policy.questions(TABLE, START) == ()
        assert policy.brief(ADA, None) == Brief()
    assert [line["step"] for line in logs] == [step]


@pytest.mark.parametrize(
    "methods",
    [
        {"candidates": lambda self, roster: [seat(99)]},
        {"candidates": lambda self, roster: None},
        {"questions": lambda self, roster, history: [Question(seat(99).participant_id, "?", str)]},
        {"questions": lambda self, roster, history: ["?"]},
        {"questions": lambda self, roster, history: 5},
        {"brief": lambda self, seat, state: "be brief"},
        {"brief": lambda self, seat, state: Brief(instruction=5)},
        {"brief": lambda self, seat, state: Brief(blind_since="now")},
    ],
)
def test_answers_that_the_port_does_not_allow_count_as_none(methods):
    policy = guarded(**methods)

    assert policy.candidates(TABLE) == TABLE
    assert policy.questions(TABLE, START) == ()
    assert policy.brief(ADA, None) == Brief()


def test_a_class_without_the_optional_methods_will_do():
    policy = GuardedPolicy("odd", type("Bare", (), {"__init__": lambda self, config: None}), {})

    assert (policy.candidates(TABLE), policy.questions(TABLE, START), policy.brief(ADA, None)) == (TABLE, (), Brief())


def test_a_question_that_cannot_read_its_answer_has_none():
    question = Question(ADA.participant_id, "How much?", int, max_tokens=10**9)
    policy = guarded(questions=lambda self, roster, history: [question])

    [asked] = policy.questions(TABLE, START)

    assert (asked.parse("7"), asked.parse("seven"), asked.max_tokens) == (7, None, 1000)


def test_a_slow_plugin_is_logged(monkeypatch):
    monkeypatch.setattr("app.domain.policies.plugins.SLOW_SECONDS", -1.0)

    with capture_logs() as logs:
        draw(choosing(Choice(ADA.participant_id, "slow")), TABLE, START)
    assert [line["event"] for line in logs] == ["turn_policy_slow"]
