"""Agents that call tools while they speak: what viewers see, what the model is told, and what bounds it."""

import asyncio
import subprocess
import sys
from urllib.parse import quote
from uuid import UUID

import pytest

from app.domain.discussion import Status
from app.engines.ports import free_port
from tests.factories.corpora import write_chunks
from tests.factories.tool_servers import NOWHERE
from tests.fixtures import mcp_server
from tests.fixtures.deadlines import eventually
from tests.fixtures.scripted_server import PREFIX, ScriptedServer, Stream
from tests.fixtures.viewer import Checker, watch_to_the_end, watching, watching_from_the_start

pytestmark = pytest.mark.anyio

ADDS = "calls=" + quote('calculator{"expression": "2 + 40"}')


@pytest.fixture
def make_talk(make_agent, make_discussion):
    async def make(model, *, tools=("calculator",), turns=1, status=Status.RUNNING, **agent):
        speaker = await make_agent(model=model.name, tools=list(tools), **{"params": {"max_tokens": 100}, **agent})
        return await make_discussion(agents=[speaker], limits={"max_turns": turns}, status=status)

    return make


async def message_of(client, talk):
    [message] = (await client.get(f"/api/v1/discussions/{talk.id}/messages")).json()["items"]
    return message


async def test_a_call_is_shown_as_it_is_made_and_its_result_is_told_to_the_model(client, make_model, make_talk):
    model = make_model(f"{ADDS}&call_words=2&reply=It%20is%20so.")
    draft = await make_talk(model, status=Status.DRAFT)

    async with watching_from_the_start(client, draft.id) as viewer:
        await viewer.until_ended()

    [started], [finished] = viewer.of_type("tool.started"), viewer.of_type("tool.finished")
    message = await message_of(client, draft)
    assert message["content"] == "It is\n\nIt is so."
    assert started.data == {
        "message_id": message["id"],
        "turn": 1,
        "attempt": 1,
        "participant_id": message["participant_id"],
        "call_id": message["tools"][0]["call_id"],
        "tool": "calculator",
        "arguments": '{"expression": "2 + 40"}',
    }
    assert (finished.data["ok"], finished.data["summary"]) == (True, "42")
    assert message["tools"][0]["offset"] == len("It is")
    asked, again = (request.body for request in model.requests)
    assert [tool["function"]["name"] for tool in asked["tools"]] == ["calculator"]
    assert [one["role"] for one in again["messages"][-2:]] == ["assistant", "tool"]
    assert again["messages"][-1]["content"] == "42"
    usage = message["usage"]
    assert usage["prompt_tokens"] > len(str(asked)) // 4


async def test_whoever_comes_back_is_shown_each_call_once(client, make_model, make_talk):
    calls = "calls=" + quote('calculator{"expression": "1"}calculator{"expression": "2"}')
    talk = await make_talk(make_model(f"{calls}&call_rounds=3&call_words=3&tokens=12&delay_ms=20"), turns=2)
    known, visits = [], 0
    while not Checker().replay(known).ended:
        last = known[-1].id if known else None
        async with watching(client, talk.id, last_event_id=last, knowing=known) as viewer:
            await viewer.until(lambda event, viewer=viewer: len(viewer.events) >= 3 or event.type == "discussion.ended")
        known += viewer.events
        visits += 1

    assert visits >= 4
    assert len(Checker().replay(known).messages) == 2


async def test_after_the_fact_a_viewer_may_come_back_between_a_call_and_its_end(client, make_model, make_talk):
    draft = await make_talk(make_model(f"{ADDS}&call_words=2&tokens=3"), status=Status.DRAFT)
    async with watching_from_the_start(client, draft.id) as viewer:
        await viewer.until_ended()
    seen = viewer.events

    for place, event in enumerate(seen):
        if "." not in event.id:
            continue
        async with watching(client, draft.id, after=event.id, knowing=seen[: place + 1]) as viewer:
            await viewer.until_ended()
        shown = [(one.type, one.id, one.data.get("call_id")) for one in seen[place + 1 :] if one.type[:5] == "tool."]
        assert [
            (one.type, one.id, one.data.get("call_id")) for one in viewer.events if one.type[:5] == "tool."
        ] == shown


async def test_calls_are_bounded_and_then_the_model_may_call_none_of_its_tools(client, make_model, make_talk, settings):
    model = make_model(f"{ADDS}&call_rounds=50&reply=Enough.")

    talk = await make_talk(model)
    await watch_to_the_end(client, talk.id)

    message, most = await message_of(client, talk), settings.tools.tool_calls_per_turn
    assert (len(message["tools"]), message["content"]) == (most, "Enough.")
    assert [request.body.get("tool_choice") for request in model.requests] == [None] * most + ["none"]
    assert all(request.body["tools"] == model.requests[0].body["tools"] for request in model.requests)


async def test_a_model_that_calls_all_the_same_is_told_once_and_not_obeyed(client, make_model, make_talk, settings):
    most = settings.tools.tool_calls_per_turn
    model = make_model(f"{ADDS}&unasked&call_rounds={most + 1}&reply=Enough.")

    talk = await make_talk(model)
    await watch_to_the_end(client, talk.id)

    message = await message_of(client, talk)
    assert (len(message["tools"]), message["content"], message["attempt"]) == (most, "Enough.", 1)
    assert "no more calls" in model.prompts[-1][-1]["content"]
    assert [request.body.get("tool_choice") for request in model.requests] == [None] * most + ["none"] * 2


async def test_calls_beside_the_last_words_are_ignored(client, make_model, make_talk, settings):
    most = settings.tools.tool_calls_per_turn
    model = make_model(f"{ADDS}&unasked&call_rounds={most + 9}&call_words=2&reply=It%20is%20so.")

    talk = await make_talk(model)
    await watch_to_the_end(client, talk.id)

    message = await message_of(client, talk)
    assert (len(message["tools"]), message["content"]) == (most, "\n\n".join(["It is"] * (most + 1)))
    assert len(model.requests) == most + 1


@pytest.mark.parametrize("calls", ['calculator{"expression": "1 / 0"}', "calculator{}", "http_get{}", 'x{"a": 1}'])
async def test_a_call_that_fails_never_fails_the_turn(client, make_model, make_talk, calls):
    model = make_model(f"calls={quote(calls)}&reply=Well.")

    talk = await make_talk(model)
    viewer = await watch_to_the_end(client, talk.id)

    message = await message_of(client, talk)
    assert viewer.events[-1].data["end_reason"] == "max_turns"
    assert (message["content"], [call["ok"] for call in message["tools"]]) == ("Well.", [False])


@pytest.fixture(scope="module")
def mcp_url():
    """The SDK's own server of tools."""
    port = free_port()
    with subprocess.Popen([sys.executable, "-P", mcp_server.__file__, str(port)], stderr=subprocess.DEVNULL) as process:
        yield f"http://127.0.0.1:{port}/mcp"
        process.terminate()


async def test_tools_of_a_server_are_called_like_any_other(client, make_model, make_talk, make_tool_server, mcp_url):
    server = await make_tool_server("sums", url=mcp_url)
    test = f"/api/v1/ai/tool-servers/{server['id']}/test"
    await eventually(lambda: is_answered(client, test), 30, "the tool server")
    model = make_model("calls=" + quote('sums__add{"a": 2, "b": 40}sums__boom{}') + "&reply=So.")
    draft = await make_talk(model, tools=["sums/*"], status=Status.DRAFT)

    async with watching_from_the_start(client, draft.id) as viewer:
        await viewer.until_ended()

    shown = [(one.data["ok"], one.data["summary"]) for one in viewer.of_type("tool.finished")]
    assert [one.data["tool"] for one in viewer.of_type("tool.started")] == ["sums/add", "sums/boom"]
    assert shown[0] == (True, "42")
    assert not shown[1][0]
    assert "sums__add" in {tool["function"]["name"] for tool in model.requests[0].body["tools"]}
    message = await message_of(client, draft)
    assert (message["content"], [call["ok"] for call in message["tools"]]) == ("So.", [True, False])


async def is_answered(client, address):
    return (await client.post(address)).status_code == 200


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_server_that_hangs_or_is_away_costs_the_turn_its_tools_alone(
    client, make_model, make_talk, make_tool_server, hangs
):
    model = make_model("calls=" + quote("away__x{}") + "&unasked&call_words=1&reply=Well.")
    with ScriptedServer() as server:
        server.only("POST", "/mcp", Stream([], "hold"))
        await make_tool_server("away", url=f"{server.url}{PREFIX}/mcp" if hangs else NOWHERE)
        talk = await make_talk(model, tools=["away/*", "calculator"])
        viewer = await watch_to_the_end(client, talk.id)

    assert viewer.events[-1].data["end_reason"] == "max_turns"
    assert [tool["function"]["name"] for tool in model.requests[0].body["tools"]] == ["calculator"]
    assert [call["ok"] for call in (await message_of(client, talk))["tools"]] == [False]


async def test_a_model_that_refuses_tools_is_asked_without(client, make_model, make_talk):
    model = make_model("reject_tools&reply=Well.")

    talk = await make_talk(model, turns=2)
    await watch_to_the_end(client, talk.id)

    assert [bool(request.body.get("tools")) for request in model.requests] == [True, False, False]


async def test_tools_that_a_model_refuses_take_other_tools_from_nobody(client, make_model, make_talk):
    model = make_model("reject_tools&reply=Well.")

    for tools in [["calculator"], ["current_time"], ["calculator"]]:
        talk = await make_talk(model, tools=tools)
        await watch_to_the_end(client, talk.id)

    assert [bool(request.body.get("tools")) for request in model.requests] == [True, False, True, False, False]


async def test_an_agent_without_tools_is_offered_none_and_calls_none(client, make_model, make_talk):
    model = make_model(f"{ADDS}&unasked&call_words=1&reply=Well.")

    talk = await make_talk(model, tools=())
    await watch_to_the_end(client, talk.id)

    assert (await message_of(client, talk))["tools"] == []
    assert [request.body.get("tools") for request in model.requests] == [None]


async def test_what_a_tool_finds_can_be_cited(client, owner, make_model, make_talk, shared_database):
    written = write_chunks(
        shared_database, ["The vault opens with 7731.", "Soup is hot."], workspace_id=UUID(owner.workspace_id)
    )
    search = "calls=" + quote('knowledge_search{"query": "soup"}')
    model = make_model(f"{search}&reply={quote('Soup is hot [1].')}")

    talk = await make_talk(model, tools=["knowledge_search"], knowledge_base_ids=[str(written.base_id)])
    await watch_to_the_end(client, talk.id)

    [citation] = (await message_of(client, talk))["citations"]
    assert citation["quote"] == "Soup is hot."


async def test_an_interrupted_speaker_keeps_what_was_shown_of_its_calls(client, make_model, make_talk):
    talk = await make_talk(make_model(f"{ADDS}&call_words=2&tokens=400&delay_ms=20"), turns=3)
    async with watching(client, talk.id) as viewer:
        await viewer.until("tool.finished")
        await viewer.until(lambda event: event.type == "message.delta" and event.data["offset"] > 20)
        await client.post(f"/api/v1/discussions/{talk.id}/interrupt")
        await viewer.until("discussion.paused")
        await asyncio.sleep(0.1)

    message = (await client.get(f"/api/v1/discussions/{talk.id}/messages")).json()["items"][0]
    assert (message["status"], [call["ok"] for call in message["tools"]]) == ("interrupted", [True])


async def test_a_round_that_limits_have_no_room_for_is_not_asked(client, make_agent, make_discussion, make_model):
    model = make_model(f"{ADDS}&call_words=2&call_rounds=9&reply=Well.")
    agent = await make_agent(model=model.name, tools=["calculator"], params={"max_tokens": 60})

    talk = await make_discussion(agents=[agent], limits={"max_tokens": 700})
    await watch_to_the_end(client, talk.id)

    read = (await client.get(f"/api/v1/discussions/{talk.id}")).json()
    assert read["usage"]["prompt_tokens"] + read["usage"]["completion_tokens"] <= 700
    assert len(model.requests) < 9
