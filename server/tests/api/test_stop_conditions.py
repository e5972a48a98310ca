"""Stop conditions over the whole product: each one ends a discussion, says so in words, and refuses bad input."""

from urllib.parse import quote

import pytest

from tests.factories.discussions import seats
from tests.fixtures.deadlines import eventually
from tests.fixtures.problems import problem
from tests.fixtures.reads import has_status, read
from tests.fixtures.viewer import watch_to_the_end

pytestmark = pytest.mark.anyio

AGREEMENT = {"type": "agreement"}
AGREED = '{"agreement": true}'


@pytest.fixture
def make_speaker(make_agent, make_model):
    """An agent that always says the same."""

    async def make(name, says, **changes):
        return await make_agent(name, model=make_model(f"reply={quote(says)}").name, **changes)

    return make


@pytest.fixture
async def make_judge(make_agent, make_model):
    """A moderator's seat, with what its model was asked."""

    async def make(says):
        model = make_model(f"reply={quote(says)}")
        agent = await make_agent("Judge", model=model.name)
        return {"agent_id": agent.id, "role": "moderator"}, model

    return make


@pytest.fixture
def open_judged(make_discussion, make_speaker, make_judge):
    """A discussion of two that say these, ended by agreement as the judge sees it; and the judge's model."""

    async def make(verdict, one, two, turns=9, condition=AGREEMENT):
        judge, model = await make_judge(verdict)
        table = [await make_speaker("One", one), await make_speaker("Two", two)]
        discussion = await make_discussion(
            participants=[*seats(*table), judge], limits={"max_turns": turns}, stop_when=[condition]
        )
        return discussion, model

    return make


async def end_of(client, discussion):
    """The last event's data, and how many turns had messages."""
    viewer = await watch_to_the_end(client, discussion.id)
    return viewer.events[-1].data, len(viewer.checker.messages)


def questions(model):
    return [prompt for prompt in model.prompts if "You check whether" in prompt[0]["content"]]


async def test_a_phrase_ends_it_and_the_end_says_which(client, make_discussion, make_speaker):
    table = [await make_speaker("One", "I am done here."), await make_speaker("Two", "Me too.")]
    condition = {"type": "phrase", "phrase": "me TOO"}
    discussion = await make_discussion(agents=table, limits={"max_turns": 9}, stop_when=[condition])

    end, messages = await end_of(client, discussion)

    assert (end["end_reason"], end["detail"], messages) == ("stop_condition", "somebody said “me TOO”", 2)


async def test_silence_ends_it_after_a_round_in_which_all_passed(client, make_discussion, make_agent, make_model):
    table = [await make_agent(name, model=make_model("empty").name) for name in ("One", "Two")]
    discussion = await make_discussion(agents=table, limits={"max_turns": 9}, stop_when=[{"type": "silence"}])

    viewer = await watch_to_the_end(client, discussion.id)

    assert [event.data["turn"] for event in viewer.of_type("turn.passed")] == [1, 2]
    assert viewer.events[-1].data["detail"] == "nobody had anything to say for 2 turns"


async def test_repetition_ends_it_when_somebody_says_the_same_again(client, make_discussion, make_speaker):
    table = [
        await make_speaker("One", "The office costs more than it brings, so let us go remote this year."),
        await make_speaker("Two", "By no means would I ever give up the place where we all meet."),
    ]
    discussion = await make_discussion(agents=table, limits={"max_turns": 9}, stop_when=[{"type": "repetition"}])

    end, messages = await end_of(client, discussion)

    assert (end["end_reason"], messages) == ("stop_condition", 3)
    assert end["detail"] == "the last message repeats what was said shortly before"


async def test_agreement_ends_it_once_the_moderators_model_says_so(client, open_judged):
    discussion, model = await open_judged(AGREED, "Remote it is.", "Yes, remote.")

    end, messages = await end_of(client, discussion)

    assert (end["end_reason"], end["detail"], messages) == ("stop_condition", "all speakers agree", 3)
    [asked] = questions(model)
    assert [part in asked[1]["content"] for part in ("[@one] Remote it is.", "[@two] Yes, remote.")] == [True, True]
    assert discussion.topic in asked[1]["content"]


async def test_what_the_check_for_agreement_took_counts_as_usage(client, open_judged):
    discussion, _model = await open_judged(AGREED, "Remote.", "Remote.")

    viewer = await watch_to_the_end(client, discussion.id)

    usage = (await read(client, discussion))["usage"]
    spoken = sum(message["usage"]["prompt_tokens"] for message in viewer.checker.messages.values())
    assert usage["prompt_tokens"] == spoken + viewer.events[-1].data["choice"]["prompt_tokens"]
    assert usage["prompt_tokens"] > spoken


@pytest.mark.parametrize("answer", ['{"agreement": false}', "Bananas are yellow."])
async def test_without_agreement_it_goes_on_and_is_asked_once_a_round(client, open_judged, answer):
    discussion, model = await open_judged(answer, "Remote.", "Office.", turns=7)

    end, messages = await end_of(client, discussion)

    assert (end["end_reason"], messages) == ("max_turns", 7)
    # After turns 3 and 6; an answer of no use is asked for twice.
    assert len(questions(model)) == (2 if "false" in answer else 4)


async def test_a_model_that_is_down_never_finds_agreement_and_holds_nothing_up(
    client, make_discussion, make_speaker, make_agent, make_model
):
    speaker = await make_speaker("One", "Remote.")
    judge = await make_agent("Judge", model=make_model("status=500").name)
    table = [{"agent_id": judge.id, "role": "moderator"}, *seats(speaker, await make_speaker("Two", "Remote."))]
    discussion = await make_discussion(
        participants=table, limits={"max_turns": 4}, stop_when=[AGREEMENT], on_turn_failure="continue"
    )

    viewer = await watch_to_the_end(client, discussion.id, 40)

    assert viewer.events[-1].data["end_reason"] == "max_turns"


async def test_in_an_all_the_model_is_asked_only_when_the_rest_holds(client, open_judged):
    condition = {"type": "all", "of": [AGREEMENT, {"type": "phrase", "phrase": "let us vote"}]}
    discussion, model = await open_judged(AGREED, "Let us vote.", "Aye.", condition=condition)

    end, messages = await end_of(client, discussion)

    assert messages == 4  # the first turn after everybody has spoken in which somebody calls a vote
    assert end["detail"] == "all speakers agree, and somebody said “let us vote”"
    assert len(questions(model)) == 1


async def test_any_of_several_ends_it(client, make_discussion, make_speaker):
    speaker = await make_speaker("One", "Enough.")
    inner = {"type": "any", "of": [{"type": "silence"}, {"type": "phrase", "phrase": "enough"}]}
    discussion = await make_discussion(agents=[speaker], limits={"max_turns": 9}, stop_when=[inner])

    end, messages = await end_of(client, discussion)

    assert (end["detail"], messages) == ("somebody said “enough”", 1)


async def test_a_persons_turn_can_meet_a_condition_as_well(client, owner, make_discussion, make_speaker):
    table = [{"user_id": owner.id}, *seats(await make_speaker("One", "Hm."))]
    discussion = await make_discussion(participants=table, stop_when=[{"type": "phrase", "phrase": "enough"}])

    posted = await client.post(f"/api/v1/discussions/{discussion.id}/messages", json={"content": "Enough!"})

    assert posted.json()["discussion"]["end_reason"] == "stop_condition"
    end, _messages = await end_of(client, discussion)
    assert end["detail"] == "somebody said “enough”"


async def test_agreement_is_checked_after_a_persons_turn_too(client, owner, make_discussion, make_speaker, make_judge):
    judge, _model = await make_judge(AGREED)
    table = [judge, *seats(await make_speaker("One", "Remote.")), {"user_id": owner.id}]
    discussion = await make_discussion(participants=table, limits={"max_turns": 9}, stop_when=[AGREEMENT])

    await eventually(lambda: has_status(client, discussion, "waiting"))
    posted = await client.post(f"/api/v1/discussions/{discussion.id}/messages", json={"content": "Remote it is."})
    assert posted.json()["discussion"]["next_speaker"] is None  # until the model was asked

    end, messages = await end_of(client, discussion)
    assert (end["detail"], messages) == ("all speakers agree", 3)


def nested(depth):
    condition = {"type": "silence"}
    for _ in range(depth - 1):
        condition = {"type": "all", "of": [condition]}
    return condition


PHRASE = {"type": "phrase", "phrase": "x"}
WIDE = {"type": "any", "of": [{"type": "all", "of": [PHRASE] * 10}] * 5}


@pytest.mark.parametrize(
    "stop_when",
    [
        [nested(5)],
        [WIDE],
        [PHRASE] * 21,
        [{"type": "all", "of": []}],
        [{"type": "any", "of": []}],
        [{"type": "all"}],
        [{"type": "all", "of": [{"type": "telepathy"}]}],
        [{"type": "phrase", "phrase": " "}],
        [{"type": "silence", "turns": 0}],
        [{"type": "silence", "turns": 101}],
        [{"type": "repetition", "threshold": 0}],
        [{"type": "repetition", "threshold": 1.01}],
        [{"type": "repetition", "window": 51}],
        [{"type": "agreement", "of": []}],
        [{}],
        ["silence"],
        {"type": "silence"},
        None,
    ],
)
async def test_a_bad_condition_is_refused_and_nothing_is_opened(client, make_agent, stop_when):
    agent = await make_agent()
    body = {"topic": "T", "participants": seats(agent), "stop_when": stop_when, "start": False}

    problem(await client.post("/api/v1/discussions", json=body), 422, "validation_failed")

    assert (await client.get("/api/v1/discussions")).json()["items"] == []


async def test_conditions_that_nobody_would_read_are_refused_unread(client):
    body = {"topic": "T", "participants": [], "stop_when": [nested(200)]}

    problem(await client.post("/api/v1/discussions", json=body), 422, "json_too_complex")


async def test_conditions_as_deep_and_as_many_as_allowed_are_taken(make_discussion):
    most = [nested(4), {"type": "any", "of": [PHRASE] * 20}, {"type": "any", "of": [PHRASE] * 20}]

    draft = await make_discussion(status="draft", stop_when=most)

    assert [condition["type"] for condition in draft.stop_when] == ["all", "any", "any"]


async def test_the_conditions_of_a_draft_can_be_changed(client, make_discussion):
    draft = await make_discussion(status="draft")
    address = f"/api/v1/discussions/{draft.id}"

    changed = await client.patch(address, json={"stop_when": [{"type": "repetition", "threshold": 0.8}]})

    assert changed.json()["stop_when"] == [{"type": "repetition", "window": 6, "threshold": 0.8}]
    problem(await client.patch(address, json={"stop_when": [nested(5)]}), 422, "validation_failed")
    problem(await client.patch(address, json={"stop_when": None}), 422, "validation_failed")
