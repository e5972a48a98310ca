"""Everything a provider may do wrong, seen from outside: what is retried, passed, cut or given up, and what follows."""

from itertools import pairwise

import pytest

from tests.fixtures.databases import rows

pytestmark = pytest.mark.anyio

ATTEMPTS = 3
SILENCE_SECONDS = 2.0
ASSUMED_CONTEXT_TOKENS = 2048


@pytest.fixture
def place(make_place):
    """An installation with a worker that gives up a silent model soon."""
    return make_place(
        models={
            "model_attempts": ATTEMPTS,
            "model_first_token_seconds": SILENCE_SECONDS,
            "model_idle_seconds": SILENCE_SECONDS,
            "openai_context_tokens": ASSUMED_CONTEXT_TOKENS,
        },
    )


def kinds(witness, *wanted):
    """The types of those events that were told, in order, each with its turn."""
    return [(event.type, event.data.get("turn")) for event in witness.events if event.type in wanted]


PASSING = [
    ("status=429&retry_after=1", "model_rate_limited"),
    ("status=500", "model_unavailable"),
    ("status=503&retry_after=1", "model_unavailable"),
    ("hang_first", "model_timed_out"),
    ("hang_after=3", "model_timed_out"),
    ("hang_after=3&chatter", "model_timed_out"),
    ("disconnect_after=3", "model_disconnected"),
    ("malformed=3", "model_malformed"),
    ("error_after=3", None),
    ("no_finish&no_done", "model_disconnected"),
    ("empty", None),
    ("whitespace", None),
]


@pytest.mark.parametrize("fault, reason", PASSING, ids=[fault for fault, _ in PASSING])
async def test_a_fault_that_passes_costs_one_attempt_and_nothing_else(fault, reason, trial, models):
    [witness] = await trial.open(*models(f"{fault}&fail_times=1"), turns=3)

    await trial.acquit(20)

    [retried] = witness.of_type("turn.retried")
    assert (retried.data["turn"], retried.data["attempt"]) == (1, 2)
    assert retried.data["reason"] == reason or (reason is None and retried.data["reason"])
    assert [event.data["attempt"] for event in witness.of_type("message.completed")] == [2, 1, 1]
    assert all(event.data["content"].strip() for event in witness.of_type("message.completed"))


@pytest.mark.parametrize("status", [429, 503])
async def test_a_provider_that_says_when_to_come_back_is_left_alone_until_then(status, trial, make_model):
    strict = make_model(f"fail_times=1&status={status}&retry_after=2")
    await trial.open(strict.name, turns=1)

    await trial.acquit(20)

    refused, answered = strict.requests
    assert answered.at - refused.at >= 2


async def test_two_attempts_may_fail_and_the_third_is_the_turn(trial, models):
    [witness] = await trial.open(*models("fail_times=2&disconnect_after=5"), turns=2)

    await trial.acquit(20)

    assert [event.data["attempt"] for event in witness.of_type("turn.retried")] == [2, 3]
    assert [event.data["attempt"] for event in witness.of_type("message.completed")] == [3, 1]


@pytest.mark.parametrize("silence", ["empty", "whitespace"])
async def test_who_answers_with_nothing_twice_passes_and_the_discussion_goes_on(silence, trial, make_model):
    mute = make_model(silence)
    [witness] = await trial.open(mute.name, turns=2)

    await trial.acquit(20)

    taken = kinds(witness, "turn.started", "turn.retried", "turn.passed", "message.completed")
    assert taken == [(kind, turn) for turn in (1, 2) for kind in ("turn.started", "turn.retried", "turn.passed")]
    assert all(event.data["reason"] for event in witness.of_type("turn.passed"))
    assert rows(trial.database, "SELECT count(*) FROM messages") == [(0,)]
    assert len(mute.requests) == 4


async def test_a_reply_without_end_is_cut_at_its_token_limit_and_is_the_turn(trial, models):
    [witness] = await trial.open(*models("endless&delay_ms=1"), turns=2, params={"max_tokens": 50})

    await trial.acquit(20)

    lengths = [len(event.data["content"].split()) for event in witness.of_type("message.completed")]
    assert len(lengths) == 2
    assert all(10 <= words <= 200 for words in lengths), lengths
    assert witness.of_type("turn.retried") == []


async def test_a_prompt_that_outgrows_the_context_is_made_shorter_once_and_sent_again(trial, make_model):
    """The provider's window is smaller than it is taken for."""
    forgetful = make_model("tokens=150&context_tokens=1200")
    [witness] = await trial.open(forgetful.name, turns=12, params={"max_tokens": 200})

    await trial.acquit(20)

    retried = witness.of_type("turn.retried")
    assert retried
    assert all(event.data["attempt"] == 2 for event in retried)
    assert len(forgetful.requests) == 12 + len(retried)
    sizes = [sum(len(message["content"]) for message in prompt) for prompt in forgetful.prompts]
    assert any(later < earlier for earlier, later in pairwise(sizes))


async def test_a_prompt_that_never_fits_fails_the_turn_after_one_shorter_try(trial, make_model):
    tiny = make_model("context_tokens=1")
    [witness] = await trial.open(tiny.name, turns=None, on_turn_failure="end")

    await trial.acquit(20)

    assert len(tiny.requests) == 2
    [failed] = witness.of_type("turn.failed")
    assert failed.data["code"] == "model_context_exceeded"


async def test_a_turn_that_fails_for_ever_pauses_the_discussion_and_a_resume_begins_it_anew(trial, make_model):
    model = make_model(f"fail_times={ATTEMPTS}&status=500")
    [witness] = await trial.open(model.name, turns=3)
    paused = await witness.until("discussion.paused", 20)
    address = f"/api/v1/discussions/{witness.discussion_id}"
    meanwhile = (await trial.person.http.get(address)).json()

    resumed = await trial.person.http.post(f"{address}/resume")
    await trial.acquit(20)

    assert (meanwhile["status"], meanwhile["turn"], meanwhile["last_seq"]) == ("paused", 0, int(paused.id))
    assert resumed.status_code == 200
    taken = kinds(witness, "turn.started", "turn.failed", "discussion.paused", "message.completed")
    assert taken[:5] == [
        ("turn.started", 1),
        ("turn.failed", 1),
        ("discussion.paused", None),
        ("turn.started", 1),
        ("message.completed", 1),
    ]


async def test_a_failed_turn_says_what_went_wrong_in_words(trial, models):
    [witness] = await trial.open(*models("status=503&message=Overloaded"), turns=None, on_turn_failure="end")

    await trial.acquit(20)

    [failed], [ended] = witness.of_type("turn.failed"), witness.of_type("discussion.ended")
    assert (failed.data["turn"], failed.data["attempt"]) == (1, ATTEMPTS)
    assert failed.data["code"] == "model_unavailable"
    assert "Overloaded" in failed.data["detail"]
    assert ended.data["end_reason"] == "failed"


async def test_a_discussion_told_to_continue_goes_on_after_the_turns_that_fail(
    trial, person, make_agent, make_discussion, models
):
    broken, sound = models("status=500", "tokens=5")
    agents = [await make_agent(name, by=person, model=model) for name, model in (("Broken", broken), ("Sound", sound))]
    discussion = await make_discussion(
        by=person, agents=agents, limits={"max_turns": 4}, on_turn_failure="continue", start=True
    )
    witness = trial.watch(discussion.id, turns=None)

    await trial.acquit(30)

    assert kinds(witness, "turn.failed", "message.completed") == [
        ("turn.failed", 1),
        ("message.completed", 2),
        ("turn.failed", 3),
        ("message.completed", 4),
    ]
    assert witness.of_type("discussion.ended")[0].data["end_reason"] == "max_turns"


async def test_a_discussion_whose_every_model_is_down_comes_to_a_visible_end_however_it_is_told_to_go_on(
    trial, person, make_agent, make_discussion, models
):
    """Never a loop, never silence: every failure is seen, and the end is."""
    agents = [
        await make_agent(name, by=person, model=model)
        for name, model in zip(("One", "Two"), models("disconnect_after=0", "status=500"), strict=True)
    ]
    discussion = await make_discussion(by=person, agents=agents, limits={"max_turns": 4}, on_turn_failure="continue")
    witness = trial.watch(discussion.id, turns=None)

    await trial.acquit(45)

    failed = [event.data["turn"] for event in witness.of_type("turn.failed")]
    assert failed in ([1, 2], [1, 2, 3, 4])
    assert witness.events[-1].data["end_reason"] in {"failed", "max_turns"}
