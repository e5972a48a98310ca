"""Start and stop: which steps a discussion may take, and what each leaves."""

import asyncio

import pytest

from app.domain.discussion import Status
from tests.factories.discussions import ENDLESS, seats
from tests.fixtures.deadlines import eventually
from tests.fixtures.problems import problem
from tests.fixtures.reads import log_types, read
from tests.fixtures.viewer import watch_to_the_end, watching

pytestmark = pytest.mark.anyio

NOT_A_DRAFT = [Status.RUNNING, Status.WAITING, Status.ENDED]


@pytest.fixture
async def speaking(make_discussion, make_agent):
    """A discussion whose only agent speaks without end."""
    return await make_discussion(agents=[await make_agent(model=ENDLESS, params={"max_tokens": 8000})])


async def test_a_draft_waits_until_it_is_started(client, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)

    assert (draft.status, draft.turn, draft.last_seq, draft.next_speaker) == ("draft", 0, 1, None)
    started = (await client.post(f"/api/v1/discussions/{draft.id}/start")).json()
    assert (started["status"], started["turn"], started["last_seq"]) == ("running", 0, 2)
    assert started["next_speaker"]["handle"] == "skeptic"


async def test_a_started_draft_runs_to_its_end(client, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)
    await client.post(f"/api/v1/discussions/{draft.id}/start")

    await watch_to_the_end(client, draft.id)

    ended = await read(client, draft)
    assert (ended["status"], ended["end_reason"], ended["turn"]) == ("ended", "max_turns", 2)
    assert ended["next_speaker"] is None


@pytest.mark.parametrize("status", NOT_A_DRAFT)
async def test_only_a_draft_can_be_started(client, make_discussion, make_agent, status):
    agents = [await make_agent(model=ENDLESS)] if status == Status.RUNNING else []
    discussion = await make_discussion(status=status, agents=agents)

    problem(await client.post(f"/api/v1/discussions/{discussion.id}/start"), 409, "illegal_transition")

    assert (await log_types(client, discussion)).count("discussion.started") <= 1
    assert (await read(client, discussion))["status"] == status


async def test_starting_an_ended_discussion_is_refused_and_queues_nothing(client, make_discussion, owner, rows_of, sql):
    ended = await make_discussion(status=Status.ENDED)
    before = rows_of(owner)

    problem(await client.post(f"/api/v1/discussions/{ended.id}/start"), 409, "illegal_transition")

    assert rows_of(owner) == before
    assert sql("SELECT 1 FROM procrastinate_jobs WHERE args ->> 'discussion_id' = %s", ended.id) == []


async def test_an_ended_discussion_cannot_be_stopped_again(client, make_discussion, owner, rows_of):
    ended = await make_discussion(status=Status.ENDED)
    before = rows_of(owner)

    problem(await client.post(f"/api/v1/discussions/{ended.id}/stop"), 409, "illegal_transition")

    assert rows_of(owner) == before


@pytest.mark.parametrize("status", [Status.DRAFT, Status.WAITING])
async def test_a_discussion_in_which_nobody_speaks_stops_without_a_message(client, make_discussion, status):
    discussion = await make_discussion(status=status)

    stopped = (await client.post(f"/api/v1/discussions/{discussion.id}/stop")).json()

    assert (stopped["status"], stopped["end_reason"], stopped["turn"]) == ("ended", "stopped", 0)
    assert stopped["next_speaker"] is None
    assert (await log_types(client, discussion))[-1] == "discussion.ended"
    assert (await client.get(f"/api/v1/discussions/{discussion.id}/messages")).json()["items"] == []


async def test_stopping_a_speaker_keeps_exactly_what_was_shown(client, speaking):
    async with watching(client, speaking.id) as viewer:
        await viewer.until(lambda event: event.type == "message.delta" and event.data["offset"] > 40)
        stopped = (await client.post(f"/api/v1/discussions/{speaking.id}/stop")).json()
        await viewer.until_ended()

    assert (stopped["status"], stopped["end_reason"], stopped["turn"]) == ("ended", "stopped", 1)
    [message] = viewer.checker.messages.values()
    assert (message["status"], message["turn"], message["attempt"]) == ("interrupted", 1, 1)
    assert message["content"] == viewer.text
    assert viewer.checker.shown_whole == [message["id"]]
    [listed] = (await client.get(f"/api/v1/discussions/{speaking.id}/messages")).json()["items"]
    assert listed == message


async def test_a_stopped_speaker_is_cut_off_at_its_provider(client, make_agent, make_discussion, make_model):
    model = make_model("endless&delay_ms=20")
    discussion = await make_discussion(agents=[await make_agent(model=model.name, params={"max_tokens": 8000})])
    open_before = model._server.open_connections
    async with watching(client, discussion.id) as viewer:
        await viewer.until("message.delta")
        await client.post(f"/api/v1/discussions/{discussion.id}/stop")
        await viewer.until_ended()

    await eventually(lambda: model._server.open_connections <= open_before, 5, "the end of the call")
    assert len(model.requests) == 1


async def test_nothing_is_said_after_the_stop(client, speaking):
    async with watching(client, speaking.id) as viewer:
        await viewer.until("message.delta")
        await client.post(f"/api/v1/discussions/{speaking.id}/stop")
        await viewer.until_ended()

    assert (await log_types(client, speaking))[-2:] == ["message.completed", "discussion.ended"]
    assert (await read(client, speaking))["last_seq"] == len(await log_types(client, speaking))


async def test_a_speaker_that_said_nothing_yet_leaves_no_message_when_stopped(client, make_agent, make_discussion):
    silent = await make_agent(model="openai/fake?hang_first")
    discussion = await make_discussion(agents=[silent])
    await eventually(lambda: _turn_has_started(client, discussion), 5, "the turn")

    stopped = (await client.post(f"/api/v1/discussions/{discussion.id}/stop")).json()

    assert (stopped["turn"], stopped["end_reason"]) == (0, "stopped")
    assert "message.completed" not in await log_types(client, discussion)


async def _turn_has_started(client, discussion):
    return "turn.started" in await log_types(client, discussion)


async def test_a_discussion_ends_with_the_message_that_holds_its_phrase(
    client, make_discussion, make_model, make_agent
):
    model = make_model("tokens=12")
    phrase = " ".join(model.reply(1).split()[2:6]).upper()
    assert phrase.lower() not in model.reply(0)
    table = [await make_agent("Only", model=model.name)]
    discussion = await make_discussion(
        agents=table, limits={"max_turns": 9}, stop_when=[{"type": "phrase", "phrase": phrase}]
    )

    viewer = await watch_to_the_end(client, discussion.id)

    assert viewer.events[-1].data["end_reason"] == "stop_condition"
    assert len(viewer.checker.messages) == 2


async def test_a_token_limit_ends_it_before_a_turn_that_might_break_it(client, make_discussion, make_agent):
    agents = [await make_agent(model="openai/fake?tokens=8&no_usage", params={"max_tokens": 50})]
    discussion = await make_discussion(agents=agents, limits={"max_turns": 100, "max_tokens": 600})

    await watch_to_the_end(client, discussion.id)

    ended = await read(client, discussion)
    assert ended["end_reason"] == "max_tokens"
    assert 0 < ended["usage"]["prompt_tokens"] + ended["usage"]["completion_tokens"] <= 600


async def test_a_second_limit_ends_it_with_its_reason(client, make_discussion, make_agent, make_model):
    slow = await make_agent(model=make_model("tokens=8&delay_ms=60").name)
    discussion = await make_discussion(agents=[slow], limits={"max_turns": 100, "max_seconds": 1})

    await watch_to_the_end(client, discussion.id)

    ended = await read(client, discussion)
    assert (ended["end_reason"], ended["turn"] < 100) == ("max_seconds", True)


async def test_a_model_that_refuses_fails_the_turn_and_ends_the_discussion(client, make_discussion, make_agent):
    refusing = await make_agent(model="openai/fake?status=401")
    discussion = await make_discussion(agents=[refusing], on_turn_failure="end")

    viewer = await watch_to_the_end(client, discussion.id)

    [failed] = viewer.of_type("turn.failed")
    assert (failed.data["code"], failed.data["turn"], failed.data["attempt"]) == ("model_unauthorized", 1, 1)
    assert viewer.events[-1].data["end_reason"] == "failed"
    assert (await read(client, discussion))["turn"] == 0


async def test_a_turn_whose_model_fails_midway_is_tried_again_and_its_text_dropped(
    client, make_discussion, make_agent, make_model
):
    model = make_model("tokens=12&delay_ms=10&disconnect_after=6&fail_times=1")
    discussion = await make_discussion(agents=[await make_agent(model=model.name)], limits={"max_turns": 1})

    viewer = await watch_to_the_end(client, discussion.id)

    [retried] = viewer.of_type("turn.retried")
    assert (retried.data["attempt"], retried.data["reason"]) == (2, "model_disconnected")
    [message] = viewer.checker.messages.values()
    assert (message["attempt"], message["content"]) == (2, model.reply(1))
    assert viewer.checker.shown_whole == [message["id"]]


async def test_one_participant_alone_speaks_every_turn(client, make_discussion, make_agent):
    discussion = await make_discussion(agents=[await make_agent("Hermit")], limits={"max_turns": 3})

    viewer = await watch_to_the_end(client, discussion.id)

    assert [message["handle"] for message in viewer.checker.messages.values()] == ["hermit"] * 3


async def test_agents_speak_in_the_order_of_their_seats(client, make_discussion, make_agent):
    table = [await make_agent(name) for name in ("One", "Two", "Three")]
    discussion = await make_discussion(participants=seats(*table), limits={"max_turns": 7})

    viewer = await watch_to_the_end(client, discussion.id)

    spoken = [message["handle"] for message in viewer.checker.messages.values()]
    assert spoken == ["one", "two", "three", "one", "two", "three", "one"]


async def test_a_discussion_keeps_the_agents_version_it_began_with(client, make_agent, make_discussion, make_model):
    model = make_model("tokens=4")
    agent = await make_agent(model=model.name, persona="I am the first version.")
    draft = await make_discussion(status=Status.DRAFT, agents=[agent])
    await client.patch(f"/api/v1/agents/{agent.id}", json={"persona": "I am the second version."})

    await client.post(f"/api/v1/discussions/{draft.id}/start")
    await watch_to_the_end(client, draft.id)

    assert all("I am the first version." in prompt[0]["content"] for prompt in model.prompts)


async def test_deleting_an_agent_does_not_disturb_its_discussions(client, make_agent, make_discussion):
    agent = await make_agent()
    draft = await make_discussion(status=Status.DRAFT, agents=[agent])
    assert (await client.delete(f"/api/v1/agents/{agent.id}")).status_code == 204

    await client.post(f"/api/v1/discussions/{draft.id}/start")
    viewer = await watch_to_the_end(client, draft.id)

    assert len(viewer.checker.messages) == 2


async def test_deleting_a_running_discussion_ends_its_stream_and_its_work(client, speaking):
    address = f"/api/v1/discussions/{speaking.id}"
    async with client.stream("GET", f"{address}/events", headers={"Accept": "text/event-stream"}) as stream:
        pieces = stream.aiter_text()
        while "message.delta" not in await anext(pieces):
            pass
        assert (await client.delete(address)).status_code == 204
        async with asyncio.timeout(5):
            async for _ in pieces:
                pass

    problem(await client.get(address), 404, "not_found")
