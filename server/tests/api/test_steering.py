"""Pausing, resuming and interrupting a discussion, changing it while it rests, coming and going."""

import asyncio
import time

import pytest

from app.domain.discussion import Status
from tests.factories.discussions import ENDLESS, seats
from tests.fixtures.deadlines import eventually
from tests.fixtures.problems import problem
from tests.fixtures.reads import has_status, log_of, log_types, read
from tests.fixtures.viewer import watch_to_the_end, watching

pytestmark = pytest.mark.anyio

SLOW = "tokens=30&delay_ms=20"  # 0.6 s a turn


async def command(client, discussion, step, status=200):
    response = await client.post(f"/api/v1/discussions/{discussion.id}/{step}")
    assert response.status_code == status, response.text
    return response.json()


async def until_status(client, discussion, status, seconds=10):
    await eventually(lambda: has_status(client, discussion, status), seconds, f"the status {status}")


@pytest.fixture
def talk(make_agent, make_discussion, make_model):
    """A discussion of two agents that speak as scripted."""

    async def begin(script=SLOW, turns=4, **changes):
        model = make_model(script)
        agents = [await make_agent(name, model=model.name, params={"max_tokens": 4000}) for name in ("One", "Two")]
        made = await make_discussion(agents=agents, limits={"max_turns": turns}, **changes)
        return made, model

    return begin


def is_text(event):
    return event.type == "message.delta"


def is_text_of(turn):
    return lambda event: is_text(event) and event.data["turn"] == turn


async def test_a_pause_lets_the_speaker_finish_and_nobody_begin(client, talk):
    discussion, model = await talk()
    async with watching(client, discussion.id) as viewer:
        await viewer.until(is_text)
        answered = await command(client, discussion, "pause")
        paused = await viewer.until("discussion.paused")

    assert (answered["status"], answered["pausing"]) in {("running", True), ("paused", False)}
    state = await read(client, discussion)
    assert (state["status"], state["turn"], state["pausing"]) == ("paused", 1, False)
    assert state["next_speaker"]["handle"] == paused.data["next_speaker"]["handle"] == "two"
    assert (await log_types(client, discussion))[-3:] == [
        "discussion.pausing",
        "message.completed",
        "discussion.paused",
    ]
    [message] = viewer.checker.messages.values()
    assert (message["status"], message["content"]) == ("complete", model.reply(0))


async def test_a_resumed_discussion_goes_on_with_the_next_speaker(client, talk):
    discussion, _model = await talk("tokens=20&delay_ms=30")
    async with watching(client, discussion.id) as viewer:
        await viewer.until(is_text)
        await command(client, discussion, "pause")
        await viewer.until("discussion.paused")
        resumed = await command(client, discussion, "resume")
        await viewer.until_ended()

    assert (resumed["status"], resumed["next_speaker"]["handle"]) == ("running", "two")
    assert [message["handle"] for message in viewer.checker.messages.values()] == ["one", "two", "one", "two"]
    assert [message["turn"] for message in viewer.checker.messages.values()] == [1, 2, 3, 4]


async def test_a_second_pause_while_the_first_waits_for_the_speaker_changes_nothing(client, talk):
    discussion, _model = await talk("tokens=60&delay_ms=20")
    async with watching(client, discussion.id) as viewer:
        await viewer.until(is_text)
        await command(client, discussion, "pause")
        await command(client, discussion, "pause")
        await viewer.until("discussion.paused")

    assert (await log_types(client, discussion)).count("discussion.pausing") == 1


async def test_a_waiting_discussion_is_paused_at_once_and_waits_again_when_resumed(client, make_discussion):
    discussion = await make_discussion(status=Status.WAITING)

    paused = await command(client, discussion, "pause")
    resumed = await command(client, discussion, "resume")

    assert (paused["status"], paused["deadline"]) == ("paused", None)
    assert (resumed["status"], resumed["next_speaker"]) == ("waiting", discussion.next_speaker)
    assert resumed["deadline"] > discussion.created_at


@pytest.mark.parametrize(
    ("status", "step"),
    [
        (Status.DRAFT, "pause"),
        (Status.DRAFT, "resume"),
        (Status.DRAFT, "interrupt"),
        (Status.WAITING, "resume"),
        (Status.WAITING, "start"),
        (Status.ENDED, "start"),
        (Status.ENDED, "pause"),
        (Status.ENDED, "resume"),
        (Status.ENDED, "interrupt"),
        (Status.ENDED, "stop"),
        (Status.PAUSED, "start"),
        (Status.PAUSED, "pause"),
        (Status.PAUSED, "interrupt"),
    ],
)
async def test_a_step_that_the_lifecycle_forbids_is_refused_and_changes_nothing(client, make_discussion, status, step):
    made = await make_discussion(status=Status.WAITING if status == Status.PAUSED else status)
    if status == Status.PAUSED:
        await command(client, made, "pause")
    before = await read(client, made)

    response = await client.post(f"/api/v1/discussions/{made.id}/{step}")

    problem(response, 409, "illegal_transition")
    assert await read(client, made) == before


async def test_an_interrupt_keeps_exactly_what_was_shown_and_pauses(client, talk):
    discussion, _model = await talk("endless&delay_ms=10")
    async with watching(client, discussion.id) as viewer:
        await viewer.until(lambda event: is_text(event) and event.data["offset"] > 40)
        answered = await command(client, discussion, "interrupt")
        await viewer.until("discussion.paused")

    assert (answered["status"], answered["turn"], answered["next_speaker"]["handle"]) == ("paused", 1, "two")
    [message] = viewer.checker.messages.values()
    assert (message["status"], message["content"]) == ("interrupted", viewer.text)
    assert (await log_types(client, discussion))[-2:] == ["message.completed", "discussion.paused"]


async def test_an_interrupted_discussion_goes_on_with_the_next_speaker(client, talk):
    discussion, _model = await talk("tokens=40&delay_ms=20", turns=2)
    async with watching(client, discussion.id) as viewer:
        await viewer.until(is_text)
        await command(client, discussion, "interrupt")
        await viewer.until("discussion.paused")
        await command(client, discussion, "resume")
        await viewer.until_ended()

    spoken = [(m["turn"], m["handle"], m["status"]) for m in viewer.checker.messages.values()]
    assert spoken == [(1, "one", "interrupted"), (2, "two", "complete")]


async def test_a_speaker_interrupted_before_its_first_word_speaks_when_resumed(client, make_agent, make_discussion):
    hesitant = await make_agent("One", model="openai/fake?tokens=4&first_ms=1500")
    discussion = await make_discussion(agents=[hesitant], limits={"max_turns": 1})
    await eventually(lambda: _has(client, discussion, "turn.started"), 5, "the turn")

    interrupted = await command(client, discussion, "interrupt")
    await command(client, discussion, "resume")
    viewer = await watch_to_the_end(client, discussion.id)

    assert (interrupted["status"], interrupted["turn"]) == ("paused", 0)
    [retried] = viewer.of_type("turn.retried")
    assert (retried.data["reason"], retried.data["attempt"]) == ("interrupted", 2)
    [message] = viewer.checker.messages.values()
    assert (message["turn"], message["attempt"], message["status"]) == (1, 2, "complete")


async def _has(client, discussion, kind):
    return kind in await log_types(client, discussion)


@pytest.mark.alone
@pytest.mark.parametrize("step", ["interrupt", "stop"])
async def test_a_speaker_is_cut_within_a_second_from_any_replica(client, talk, make_arena, connect, owner, step):
    discussion, _model = await talk(ENDLESS.removeprefix("openai/fake?"))
    elsewhere = await connect(owner.access_token, at=make_arena())
    assert await read(elsewhere, discussion)  # whose first request opens its connections
    async with watching(client, discussion.id) as viewer:
        await viewer.until(is_text)
        began = time.monotonic()
        await command(elsewhere, discussion, step)
        last = await viewer.until("discussion.paused" if step == "interrupt" else "discussion.ended")
        assert last.at - began < 1
        seen = len(viewer.events)
        await asyncio.sleep(0.3)  # a driver that had not noticed would have spoken by now
        assert len(viewer.events) == seen


@pytest.mark.parametrize("steps", [["stop", "interrupt"] * 3, ["stop"] * 6], ids=["with interrupts", "stops only"])
async def test_a_stop_among_commands_at_the_same_moment_ends_the_discussion(client, talk, steps):
    """A stop is allowed whatever an interrupt has left: it is never refused for having come second."""
    discussion, _model = await talk(ENDLESS.removeprefix("openai/fake?"))
    async with watching(client, discussion.id) as viewer:
        await viewer.until(is_text)
        address = f"/api/v1/discussions/{discussion.id}"
        answers = await asyncio.gather(*(client.post(f"{address}/{step}") for step in steps))
        await viewer.until_ended()

    assert [step for step, answer in zip(steps, answers, strict=True) if answer.is_success].count("stop") == 1
    for answer in answers:
        if not answer.is_success:
            problem(answer, 409, "illegal_transition")
    [message] = viewer.checker.messages.values()
    assert message["status"] == "interrupted"
    assert (await read(client, discussion))["end_reason"] == "stopped"


async def test_a_pause_takes_effect_between_two_attempts(client, make_agent, make_discussion):
    failing = await make_agent(model="openai/fake?status=429&retry_after=20")
    discussion = await make_discussion(agents=[failing])
    await eventually(lambda: _has(client, discussion, "turn.started"), 5, "the turn")
    await asyncio.sleep(0.2)

    await command(client, discussion, "pause")

    await until_status(client, discussion, "paused", 3)
    assert (await log_types(client, discussion))[-2:] == ["turn.retried", "discussion.paused"]


async def test_a_paused_discussion_is_changed_and_goes_on_by_its_new_rules(client, talk):
    discussion, model = await talk("tokens=20&delay_ms=30")
    async with watching(client, discussion.id) as viewer:
        await viewer.until(is_text)
        await command(client, discussion, "pause")
        await viewer.until("discussion.paused")
        changed = await client.patch(
            f"/api/v1/discussions/{discussion.id}",
            json={"topic": "And the office?", "limits": {"max_turns": 2}, "instructions": "Be brief."},
        )
        await command(client, discussion, "resume")
        await viewer.until_ended()

    assert (changed.status_code, changed.json()["topic"], changed.json()["version"]) == (200, "And the office?", 2)
    [updated] = viewer.of_type("discussion.updated")
    assert updated.data["limits"]["max_turns"] == 2
    assert len(viewer.checker.messages) == 2
    assert "And the office?" in model.prompts[-1][1]["content"]


async def test_a_change_of_one_limit_or_deadline_leaves_the_others_as_they_are(client, make_discussion):
    rules = {"limits": {"max_turns": 200, "max_seconds": 900}, "waiting": {"human_seconds": 60, "external_seconds": 5}}
    draft = await make_discussion(status=Status.DRAFT, **rules)

    changes = {"limits": {"max_tokens": 5000, "max_seconds": None}, "waiting": {"human_seconds": 90}}
    changed = (await client.patch(f"/api/v1/discussions/{draft.id}", json=changes)).json()

    limits = {"max_turns": 200, "max_tokens": 5000, "max_cost_usd": None, "max_seconds": None}
    assert changed["limits"] == limits
    assert (changed["waiting"]["human_seconds"], changed["waiting"]["external_seconds"]) == (90, 5)
    [updated] = [event["data"] for event in await log_of(client, draft) if event["type"] == "discussion.updated"]
    assert updated["limits"] == limits


async def test_only_the_title_of_a_running_discussion_can_be_changed(client, talk):
    discussion, _model = await talk()
    address = f"/api/v1/discussions/{discussion.id}"

    problem(await client.patch(address, json={"topic": "Another"}), 409, "not_editable")
    assert (await client.patch(address, json={"title": "A title"})).status_code == 200
    assert (await watch_to_the_end(client, discussion.id)).of_type("discussion.updated")[0].data["title"] == "A title"


async def test_who_joins_a_running_discussion_speaks_in_its_turn(client, talk, make_agent):
    discussion, model = await talk("tokens=30&delay_ms=25", turns=5)
    newcomer = await make_agent("Three", model=model.name)
    async with watching(client, discussion.id) as viewer:
        await viewer.until(is_text)
        joined = await client.post(f"/api/v1/discussions/{discussion.id}/participants", json={"agent_id": newcomer.id})
        await viewer.until_ended()

    assert (joined.status_code, joined.json()["handle"], joined.json()["role"]) == (201, "three", "speaker")
    spoken = [message["handle"] for message in viewer.checker.messages.values()]
    assert spoken == ["one", "two", "three", "one", "two"]


async def test_who_leaves_finishes_its_turn_and_has_no_other(client, talk):
    discussion, model = await talk("tokens=40&delay_ms=25", turns=3)
    async with watching(client, discussion.id) as viewer:
        await viewer.until(is_text_of(1))
        leaving = discussion.participants[0]["id"]
        left = await client.delete(f"/api/v1/discussions/{discussion.id}/participants/{leaving}")
        await viewer.until_ended()

    assert left.status_code == 204
    assert [message["handle"] for message in viewer.checker.messages.values()] == ["one", "two", "two"]
    assert [seat["handle"] for seat in (await read(client, discussion))["participants"]] == ["two"]
    assert next(iter(viewer.checker.messages.values()))["content"] == model.reply(0)


async def test_the_floor_goes_on_when_a_person_who_has_it_leaves(client, make_discussion):
    discussion = await make_discussion(status=Status.WAITING)
    person = discussion.next_speaker["participant_id"]

    assert (await client.delete(f"/api/v1/discussions/{discussion.id}/participants/{person}")).status_code == 204

    viewer = await watch_to_the_end(client, discussion.id)
    assert [message["handle"] for message in viewer.checker.messages.values()] == ["skeptic", "optimist"]


async def test_who_comes_back_has_the_same_seat(client, make_discussion):
    discussion = await make_discussion(status=Status.WAITING)
    address = f"/api/v1/discussions/{discussion.id}/participants"
    seat = discussion.participants[1]

    await client.delete(f"{address}/{seat['id']}")
    back = await client.post(address, json={"agent_id": seat["agent_id"]})

    assert (back.status_code, back.json()["id"], back.json()["handle"]) == (201, seat["id"], seat["handle"])


async def test_who_is_no_member_any_more_does_not_come_back(client, owner, colleague, make_agent, make_discussion, sql):
    person = await colleague("member")
    made = await make_discussion(status=Status.DRAFT, participants=[{"user_id": person.id}, *seats(await make_agent())])
    address = f"/api/v1/discussions/{made.id}/participants"
    await client.delete(f"{address}/{made.participants[0]['id']}")
    sql("DELETE FROM memberships WHERE workspace_id = %s AND user_id = %s", owner.workspace_id, person.id)

    problem(await client.post(address, json={"user_id": person.id}), 404, "user_not_found")


async def test_the_last_one_cannot_leave(client, make_discussion, make_agent):
    draft = await make_discussion(status=Status.DRAFT, agents=[await make_agent()])

    refused = await client.delete(f"/api/v1/discussions/{draft.id}/participants/{draft.participants[0]['id']}")

    problem(refused, 409, "last_participant")


async def test_bad_seats_are_refused(client, make_discussion, make_agent, stranger):
    draft = await make_discussion(status=Status.DRAFT)
    address = f"/api/v1/discussions/{draft.id}/participants"
    theirs = await make_agent("Theirs", by=stranger)

    problem(
        await client.post(address, json={"agent_id": draft.participants[0]["agent_id"]}), 422, "duplicate_participant"
    )
    problem(await client.post(address, json={"agent_id": theirs.id}), 404, "agent_not_found")
    problem(await client.post(address, json={}), 422, "validation_failed")
    problem(await client.delete(f"{address}/{theirs.id}"), 404, "not_found")
    problem(await stranger.http.post(address, json={"agent_id": theirs.id}), 404, "not_found")
    assert (await read(client, draft))["last_seq"] == 1


async def test_an_agent_may_speak_with_another_model_in_one_discussion(client, make_agent, make_discussion, make_model):
    own, other = make_model("tokens=4"), make_model("tokens=5")
    agent = await make_agent(model=own.name)
    discussion = await make_discussion(
        participants=[{"agent_id": agent.id, "model": other.name}], limits={"max_turns": 1}
    )

    viewer = await watch_to_the_end(client, discussion.id)

    assert [message["content"] for message in viewer.checker.messages.values()] == [other.reply(0)]
    assert own.requests == []
    refused = await client.post(
        "/api/v1/discussions",
        json={"topic": "t", "participants": [{"agent_id": agent.id, "model": "nobody/knows"}]},
    )
    assert problem(refused, 422, "unknown_model")["errors"][0]["loc"] == ["body", "participants", 0, "model"]


@pytest.mark.parametrize(
    ("policy", "outcome"),
    [("pause", ["turn.failed", "discussion.paused"]), ("end", ["turn.failed", "discussion.ended"])],
)
async def test_a_turn_that_fails_for_good_pauses_or_ends_the_discussion(
    client, make_agent, make_discussion, policy, outcome
):
    refusing = await make_agent(model="openai/fake?status=401")
    discussion = await make_discussion(agents=[refusing], on_turn_failure=policy)

    await eventually(lambda: _has(client, discussion, outcome[1]), 5, outcome[1])

    assert (await log_types(client, discussion))[-2:] == outcome
    state = await read(client, discussion)
    assert (state["turn"], state["end_reason"]) == (0, "failed" if policy == "end" else None)


async def test_a_failed_turn_is_begun_anew_when_the_discussion_is_resumed(
    client, make_agent, make_discussion, make_model
):
    model = make_model("tokens=4&fail_times=1&status=401")
    discussion = await make_discussion(agents=[await make_agent(model=model.name)], limits={"max_turns": 1})
    await until_status(client, discussion, "paused")

    await command(client, discussion, "resume")
    viewer = await watch_to_the_end(client, discussion.id)

    assert [(event.data["turn"], event.data["attempt"]) for event in viewer.of_type("turn.started")] == [(1, 1), (1, 1)]
    assert [message["turn"] for message in viewer.checker.messages.values()] == [1]


async def test_the_others_go_on_without_one_whose_turns_fail(client, make_agent, make_discussion):
    good, bad = await make_agent("Good"), await make_agent("Bad", model="openai/fake?status=401")
    discussion = await make_discussion(
        participants=seats(good, bad), limits={"max_turns": 4}, on_turn_failure="continue"
    )

    viewer = await watch_to_the_end(client, discussion.id)

    assert [(message["turn"], message["handle"]) for message in viewer.checker.messages.values()] == [
        (1, "good"),
        (3, "good"),
    ]
    assert [event.data["turn"] for event in viewer.of_type("turn.failed")] == [2, 4]
    assert viewer.events[-1].data["end_reason"] == "max_turns"


async def test_a_discussion_whose_every_model_is_down_ends_with_the_reason(client, make_agent, make_discussion):
    table = [await make_agent(name, model="openai/fake?status=401") for name in ("One", "Two", "Three")]
    discussion = await make_discussion(agents=table, limits={"max_turns": 50}, on_turn_failure="continue")

    viewer = await watch_to_the_end(client, discussion.id)

    assert len(viewer.of_type("turn.failed")) == 3
    assert viewer.events[-1].data["end_reason"] == "failed"
    assert "401" in viewer.events[-1].data["detail"]


@pytest.mark.parametrize("fault", ["empty", "whitespace"])
async def test_a_speaker_with_nothing_to_say_is_asked_once_more_and_passes(
    client, make_agent, make_discussion, make_model, fault
):
    model = make_model(fault)
    discussion = await make_discussion(
        agents=[await make_agent("Mute", model=model.name), await make_agent("Good")], limits={"max_turns": 2}
    )

    viewer = await watch_to_the_end(client, discussion.id)

    [passed] = viewer.of_type("turn.passed")
    assert (passed.data["turn"], passed.data["attempt"], passed.data["reason"]) == (1, 2, "empty")
    assert [(m["turn"], m["handle"]) for m in viewer.checker.messages.values()] == [(2, "good")]
    assert len(model.requests) == 2


async def test_a_fallback_model_speaks_when_the_first_one_fails(client, make_agent, make_discussion, make_model):
    down, spare = make_model("status=401"), make_model("tokens=5")
    agent = await make_agent(model=down.name, model_fallbacks=[spare.name])
    discussion = await make_discussion(agents=[agent], limits={"max_turns": 2})

    viewer = await watch_to_the_end(client, discussion.id)

    assert [message["content"] for message in viewer.checker.messages.values()] == [spare.reply(0), spare.reply(1)]
    assert [event.data["reason"] for event in viewer.of_type("turn.retried")] == ["model_unauthorized"] * 2


async def test_a_prompt_that_is_too_long_for_its_model_is_shortened(client, make_agent, make_discussion, make_model):
    model = make_model("tokens=5&context_tokens=5000")
    agent = await make_agent(model=model.name)
    discussion = await make_discussion(agents=[agent], limits={"max_turns": 1}, topic="Why? " * 300, start=False)
    long = {"content": "And another thing to consider before we decide. " * 500}
    assert (await client.post(f"/api/v1/discussions/{discussion.id}/messages", json=long)).status_code == 201

    await command(client, discussion, "start")
    viewer = await watch_to_the_end(client, discussion.id)

    assert [event.data["reason"] for event in viewer.of_type("turn.retried")] == ["model_context_exceeded"]
    assert viewer.of_type("turn.failed") == []


async def test_an_endless_reply_is_cut_at_its_limit_and_is_whole(client, make_agent, make_discussion):
    agent = await make_agent(model="openai/fake?endless", params={"max_tokens": 40})
    discussion = await make_discussion(agents=[agent], limits={"max_turns": 1})

    viewer = await watch_to_the_end(client, discussion.id)

    [message] = viewer.checker.messages.values()
    assert (message["status"], len(message["content"].split())) == ("complete", 40)


async def test_who_left_and_speaks_again_sits_at_the_table_as_a_guest(client, colleague, make_agent, make_discussion):
    member = await colleague("member")
    made = await make_discussion(status=Status.DRAFT, participants=[{"user_id": member.id}, *seats(await make_agent())])
    seat_id = made.participants[0]["id"]
    await client.delete(f"/api/v1/discussions/{made.id}/participants/{seat_id}")

    posted = await member.http.post(f"/api/v1/discussions/{made.id}/messages", json={"content": "One more thing."})

    said, after = posted.json()["message"], posted.json()["discussion"]
    assert (said["participant_id"], said["turn"]) == (seat_id, None)
    assert {seat["id"]: seat["role"] for seat in after["participants"]}[seat_id] == "guest"
    events = (await client.get(f"/api/v1/discussions/{made.id}/events")).json()["items"]
    assert [event["type"] for event in events[-3:]] == ["participant.left", "participant.joined", "message.completed"]


async def test_a_full_table_takes_nobody_more(client, owner, make_agent, make_discussion):
    made = await make_discussion(status=Status.DRAFT, agents=[await make_agent(f"Agent {n}") for n in range(50)])

    response = await client.post(f"/api/v1/discussions/{made.id}/participants", json={"user_id": owner.id})

    problem(response, 409, "table_full")


async def test_a_pause_that_comes_while_another_command_cuts_the_speaker_waits_for_what_follows(client, talk, sql):
    """Here the other command's process has died in between: the next driver pauses instead of speaking."""
    discussion, _model = await talk("tokens=200&delay_ms=20")
    async with watching(client, discussion.id) as viewer:
        await viewer.until(is_text)
        fence = "lease_owner = 'command', epoch = epoch + 1, lease_until = now() + interval '1 second'"
        sql(f"UPDATE discussions SET {fence} WHERE id = %s", discussion.id)
        answered = await command(client, discussion, "pause")
        await viewer.until("discussion.paused")

    assert (answered["status"], answered["pausing"]) == ("running", True)
    # What the lost attempt had shown is charged before.
    assert (await log_types(client, discussion))[-3:] == ["discussion.pausing", "turn.retried", "discussion.paused"]


async def test_the_log_says_that_who_was_to_speak_next_has_left(client, talk):
    discussion, _model = await talk()
    async with watching(client, discussion.id) as viewer:
        await viewer.until(is_text)
        await command(client, discussion, "pause")
        paused = await viewer.until("discussion.paused")
    following = paused.data["next_speaker"]["participant_id"]

    await client.delete(f"/api/v1/discussions/{discussion.id}/participants/{following}")

    [left] = [event for event in await log_of(client, discussion) if event["type"] == "participant.left"]
    assert (left["data"]["participant_id"], left["data"]["next_speaker"]) == (following, None)
    assert (await read(client, discussion))["next_speaker"] is None
