"""The live stream: what a viewer sees, from wherever it comes in."""

import asyncio
from uuid import UUID

import pytest
from redis.asyncio import from_url

from app.domain.discussion import Status
from app.services.live.bus import channel_of
from tests.factories.discussions import ENDLESS
from tests.fixtures.problems import problem
from tests.fixtures.raw_stream import open_raw
from tests.fixtures.viewer import Checker, watch_to_the_end, watching, watching_from_the_start

pytestmark = pytest.mark.anyio


async def stop(client, discussion):
    await client.post(f"/api/v1/discussions/{discussion.id}/stop")


@pytest.fixture
async def talk(make_agent, make_discussion):
    """A discussion whose two turns are shown in many pieces, in words of several bytes a letter."""
    agent = await make_agent(model="openai/fake?tokens=12&delay_ms=15&unicode")
    return await make_discussion(agents=[agent], limits={"max_turns": 2})


async def test_a_viewer_from_the_beginning_sees_every_message_grow(client, make_agent, make_discussion):
    agent = await make_agent(model="openai/fake?tokens=12&delay_ms=15&unicode")
    draft = await make_discussion(status=Status.DRAFT, agents=[agent], limits={"max_turns": 2})

    async with watching_from_the_start(client, draft.id) as viewer:
        await viewer.until_ended()

    assert viewer.checker.position == (7, 0)
    assert len(viewer.checker.shown_whole) == 2
    assert len(viewer.of_type("message.delta")) > 4


async def test_offsets_count_code_points(client, talk):
    viewer = await watch_to_the_end(client, talk.id)

    last = viewer.of_type("message.delta")[-1].data
    [*_, message] = viewer.checker.messages.values()
    assert last["offset"] + len(last["text"]) == len(message["content"])
    assert len(message["content"].encode()) > len(message["content"])


async def test_the_first_token_is_shown_before_the_model_has_finished(client, make_agent, make_discussion):
    discussion = await make_discussion(agents=[await make_agent(model=ENDLESS, params={"max_tokens": 8000})])

    async with watching(client, discussion.id) as viewer:
        await viewer.until("message.delta", seconds=3)
        assert "message.completed" not in viewer.types
        await stop(client, discussion)
        await viewer.until_ended()


async def test_an_ended_discussion_is_told_from_its_log_and_the_stream_ends(client, talk):
    await watch_to_the_end(client, talk.id)

    viewer = await watch_to_the_end(client, talk.id)

    assert viewer.types[-1] == "discussion.ended"
    assert len(viewer.checker.messages) == 2


async def test_a_viewer_past_the_end_of_an_ended_discussion_is_told_nothing(client, talk):
    seen = (await watch_to_the_end(client, talk.id)).events

    async with asyncio.timeout(5):
        response = await client.get(
            f"/api/v1/discussions/{talk.id}/events",
            headers={"Accept": "text/event-stream", "Last-Event-ID": seen[-1].id},
        )

    assert (response.status_code, "event:" in response.text) == (200, False)


async def test_a_viewer_may_come_back_with_any_id_it_has_seen(client, talk):
    """After the fact: from every id of a recorded stream, in the middle of messages too."""
    recorded = (await watch_to_the_end(client, talk.id)).events
    assert any("." in event.id for event in recorded)

    for place in range(len(recorded) - 1):
        async with watching(client, talk.id, after=recorded[place].id, knowing=recorded[: place + 1]) as viewer:
            await viewer.until_ended()
        assert list(viewer.checker.messages) == [e.data["id"] for e in recorded if e.type == "message.completed"]


async def test_a_viewer_may_come_back_at_any_moment_of_a_live_message(client, make_agent, make_discussion):
    """While it is spoken: leave after every few events, come back with the last id, miss nothing."""
    talk = await make_discussion(agents=[await make_agent(model="openai/fake?tokens=40&delay_ms=25&unicode")])
    known, visits = [], 0
    while not Checker().replay(known).ended:
        async with watching(client, talk.id, last_event_id=known[-1].id if known else None, knowing=known) as viewer:
            await viewer.until(lambda event, viewer=viewer: len(viewer.events) >= 2 or event.type == "discussion.ended")
        known += viewer.events
        visits += 1

    assert visits >= 3
    assert len(Checker().replay(known).shown_whole) == 2


async def test_viewers_who_come_in_at_different_moments_see_the_same_messages(client, talk):
    async def watch_from(moment):
        await asyncio.sleep(moment)
        return await watch_to_the_end(client, talk.id)

    viewers = await asyncio.gather(*(watch_from(number * 0.04) for number in range(10)))

    told = [viewer.checker.messages for viewer in viewers]
    assert all(messages == told[0] for messages in told)


async def test_last_event_id_goes_before_after(client, talk):
    """A browser that reconnects keeps the address it began with."""
    recorded = (await watch_to_the_end(client, talk.id)).events
    last = recorded[-2]

    async with watching(client, talk.id, after="1", last_event_id=last.id, knowing=recorded[:-1]) as viewer:
        await viewer.until_ended()

    assert viewer.types == ["discussion.ended"]


async def test_a_viewer_who_joins_in_the_middle_of_a_message_is_given_its_beginning(
    client, make_agent, make_discussion
):
    discussion = await make_discussion(agents=[await make_agent(model=ENDLESS, params={"max_tokens": 8000})])
    async with watching(client, discussion.id) as first:
        await first.until(lambda event: event.type == "message.delta" and event.data["offset"] > 60)
        async with watching(client, discussion.id) as second:
            beginning = await second.until("message.delta")
            await stop(client, discussion)
            await second.until_ended()
        await first.until_ended()

    assert beginning.data["offset"] == 0
    assert len(beginning.data["text"]) > 60
    assert second.text == first.text


@pytest.mark.parametrize("given", ["x", "1.x", "1..2", "-3", "99999999999", "1" * 2000])
@pytest.mark.parametrize("where", ["after", "header"])
async def test_an_id_that_no_stream_gave_is_refused(client, make_discussion, given, where):
    draft = await make_discussion(status=Status.DRAFT)
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": given} if where == "header" else {})}
    query = {"after": given} if where == "after" else {}

    response = await client.get(f"/api/v1/discussions/{draft.id}/events", params=query, headers=headers)

    place = ["query", "after"] if where == "after" else ["header", "last-event-id"]
    assert problem(response, 422, "bad_event_id")["errors"][0]["loc"] == place


async def test_an_id_from_the_future_is_refused(client, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)

    response = await client.get(
        f"/api/v1/discussions/{draft.id}/events", params={"after": "2"}, headers={"Accept": "text/event-stream"}
    )

    assert problem(response, 422, "event_id_ahead")["errors"][0]["loc"] == ["query", "after"]


async def test_an_id_beyond_every_message_is_refused(client, make_agent, make_discussion):
    discussion = await make_discussion(agents=[await make_agent(model=ENDLESS, params={"max_tokens": 8000})])
    async with watching(client, discussion.id) as viewer:
        spoken = await viewer.until("message.delta")
        response = await client.get(
            f"/api/v1/discussions/{discussion.id}/events",
            headers={"Accept": "text/event-stream", "Last-Event-ID": f"{spoken.position[0]}.999999"},
        )
        await stop(client, discussion)
        await viewer.until_ended()

    assert problem(response, 422, "event_id_ahead")["errors"][0]["loc"] == ["header", "last-event-id"]


async def test_an_id_from_the_future_of_what_is_being_spoken_is_told_so_at_once(client, make_agent, make_discussion):
    """With a reset, and not refused: a stream may have given it before the cache lost what it had."""
    discussion = await make_discussion(agents=[await make_agent(model=ENDLESS, params={"max_tokens": 8000})])
    async with watching(client, discussion.id) as viewer:
        spoken = await viewer.until("message.delta")
        opening = viewer.events[: viewer.types.index("message.delta")]
        ahead = f"{spoken.position[0]}.5000"
        async with watching(client, discussion.id, last_event_id=ahead, knowing=opening) as early:
            reset = await early.until("stream.reset", seconds=2)
            await early.until("message.delta", seconds=2)
            await stop(client, discussion)
            await early.until_ended()

    assert "characters by now" in reset.data["reason"]
    assert early.types[0] == "stream.reset"
    assert early.text == early.of_type("message.completed")[0].data["content"]


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        (["text/event-stream"], "text/event-stream"),
        (["Text/Event-Stream; charset=utf-8, */*;q=0.1"], "text/event-stream"),
        (["application/json;q=0.5, text/event-stream"], "text/event-stream"),
        (["application/json;q=0.5", "text/event-stream"], "text/event-stream"),
        (["application/json, text/event-stream;q=0.5"], "application/json"),
        (["application/json, text/event-stream;q=0"], "application/json"),
        (["text/event-stream;q=0, */*"], "application/json"),
        (["text/event-streams"], "application/json"),
        (["text/event-stream;q=x, text/html"], "application/json"),
        (["text/event-stream;q=inf"], "application/json"),
        (["text/event-stream;q=0.5, application/json;q=nan"], "text/event-stream"),
        (["text/event-stream;q=0.5, application/*;q=0.6"], "application/json"),
        (["text/event-stream;q=0.1, */*"], "application/json"),
        (["text/event-stream, */*"], "text/event-stream"),
        (["text/*"], "application/json"),
        (["*/*"], "application/json"),
        ([""], "application/json"),
    ],
)
async def test_the_stream_is_given_to_whoever_asks_for_it_and_the_page_to_others(
    client, make_discussion, accept, answer
):
    ended = await make_discussion(status=Status.ENDED)

    headers = [("Accept", value) for value in accept]
    response = await client.get(f"/api/v1/discussions/{ended.id}/events", headers=headers)

    assert response.status_code == 200
    assert response.headers["content-type"].partition(";")[0] == answer


async def test_text_said_to_have_been_shown_that_never_was_is_taken_back(client, talk):
    """An id that claims more of a message than it has gets a reset, never a silent hole."""
    recorded = (await watch_to_the_end(client, talk.id)).events
    opening = next(event for event in recorded if event.type == "turn.started")
    headers = {"Accept": "text/event-stream", "Last-Event-ID": f"{opening.id}.9999"}

    response = await client.get(f"/api/v1/discussions/{talk.id}/events", headers=headers)

    assert "event: stream.reset" in response.text
    assert response.text.index("stream.reset") < response.text.index("message.completed")


async def test_a_silent_stream_sends_heartbeats(make_arena, make_discussion, connect, owner):
    quick = make_arena(server={"stream_heartbeat_seconds": 0.2})
    there = await connect(owner.access_token, at=quick)
    draft = await make_discussion(status=Status.DRAFT)

    async with watching(there, draft.id) as viewer:
        await viewer.until_heartbeat(3)
        await stop(there, draft)
        await viewer.until_ended()

    assert viewer.types == ["discussion.created", "discussion.ended"]


async def test_a_long_stream_ends_cleanly_and_goes_on_where_it_was(make_arena, make_discussion, connect, owner):
    brief = make_arena(server={"stream_seconds": 0.3, "stream_heartbeat_seconds": 0.1})
    there = await connect(owner.access_token, at=brief)
    draft = await make_discussion(status=Status.DRAFT)

    async with asyncio.timeout(5):
        response = await there.get(f"/api/v1/discussions/{draft.id}/events", headers={"Accept": "text/event-stream"})

    assert "event: discussion.created" in response.text
    assert "retry: 1000" in response.text


async def test_a_stream_ends_when_its_viewer_is_removed_from_the_workspace(
    client, owner, colleague, make_agent, make_discussion, sql
):
    talk = await make_discussion(agents=[await make_agent(model="openai/fake?endless&delay_ms=20")])
    viewer = await colleague("member")
    address = f"/api/v1/discussions/{talk.id}/events"
    async with viewer.http.stream("GET", address, headers={"Accept": "text/event-stream"}) as stream:
        sql("DELETE FROM memberships WHERE workspace_id = %s AND user_id = %s", owner.workspace_id, viewer.id)
        async with asyncio.timeout(5):
            seen = await stream.aread()

    assert seen.endswith(b"\n\n")
    assert seen.count(b"retry: ") == 1  # whoever comes back at once is told why
    assert (await viewer.http.get(address, headers={"Accept": "text/event-stream"})).status_code == 404
    await client.post(f"/api/v1/discussions/{talk.id}/stop")


async def test_a_silent_stream_ends_when_its_viewer_is_removed_from_the_workspace(
    make_arena, colleague, make_discussion, connect, owner, sql
):
    quick = make_arena(server={"stream_heartbeat_seconds": 0.2})
    viewer = await colleague("viewer")
    draft = await make_discussion(status=Status.DRAFT)
    asking = {"Accept": "text/event-stream", "X-Workspace-ID": owner.workspace_id}
    there = await connect(viewer.access_token, at=quick)
    async with there.stream("GET", f"/api/v1/discussions/{draft.id}/events", headers=asking) as stream:
        sql("DELETE FROM memberships WHERE workspace_id = %s AND user_id = %s", owner.workspace_id, viewer.id)
        async with asyncio.timeout(2):
            assert (await stream.aread()).count(b"retry: ") == 1


async def test_a_role_of_another_release_keeps_nobody_elses_rights_from_being_reviewed(
    client, owner, colleague, make_discussion, sql
):
    odd, removed = await colleague("viewer", "Odd"), await colleague("viewer", "Removed")
    address = f"/api/v1/discussions/{(await make_discussion(status=Status.DRAFT)).id}/events"
    asking = {"Accept": "text/event-stream"}
    async with (
        odd.http.stream("GET", address, headers=asking) as one,
        removed.http.stream("GET", address, headers=asking) as other,
    ):
        sql("UPDATE memberships SET role = 'auditor' WHERE user_id = %s AND role = 'viewer'", odd.id)
        sql("DELETE FROM memberships WHERE user_id = %s AND workspace_id = %s", removed.id, owner.workspace_id)
        async with asyncio.timeout(4):
            await other.aread()
            await one.aread()
    sql("DELETE FROM memberships WHERE user_id = %s AND workspace_id = %s", odd.id, owner.workspace_id)


@pytest.mark.parametrize("garbage", [b"", b"Dnope", b"E[[1,2]]\n{}", b'D["x",1,1,0,"t"]', b"\xff"])
async def test_a_publication_that_nobody_understands_disturbs_nobody(client, settings, make_discussion, garbage):
    draft = await make_discussion(status=Status.DRAFT)
    async with watching(client, draft.id) as viewer:
        await viewer.until("discussion.created")
        async with from_url(settings.redis.redis_url.get_secret_value()) as valkey:
            await valkey.publish(channel_of(UUID(draft.id)), garbage)
        posted = await client.post(f"/api/v1/discussions/{draft.id}/messages", json={"content": "Hello?"})
        assert posted.status_code == 201
        await viewer.until("message.completed", 0.9)
        await stop(client, draft)
        await viewer.until_ended()


async def test_one_that_lags_far_behind_ends_with_its_discussions_deletion(arena, owner, client, make_discussion, sql):
    """It has yet to be told what is in no log any more."""
    draft = await make_discussion(status=Status.DRAFT)
    sql(
        "INSERT INTO discussion_events (discussion_id, workspace_id, seq, type, payload, created_at)"
        " SELECT id, workspace_id, 1 + n, 'limit.warning', json_build_object('filler', repeat('x', 4000)), now()"
        " FROM discussions, generate_series(1, 3000) AS n WHERE id = %s",
        draft.id,
    )
    sql("UPDATE discussions SET last_seq = last_seq + 3000 WHERE id = %s", draft.id)
    stream = await open_raw(
        arena.url, f"/api/v1/discussions/{draft.id}/events", Authorization=f"Bearer {owner.access_token}"
    )
    try:
        await stream.read_until(b"event:")
        await asyncio.sleep(0.5)  # it is held up by us
        assert (await client.delete(f"/api/v1/discussions/{draft.id}")).status_code == 204
        await asyncio.sleep(1.5)
        await stream.read_to_the_end()
        assert stream.is_whole
    finally:
        stream.cut()


async def test_a_viewer_on_another_replica_sees_the_same(
    make_arena, make_discussion, make_agent, client, connect, owner
):
    replica = make_arena()
    there = await connect(owner.access_token, at=replica)
    agent = await make_agent(model="openai/fake?tokens=20&delay_ms=20")
    discussion = await make_discussion(status=Status.DRAFT, agents=[agent])

    async with watching(there, discussion.id) as far, watching_from_the_start(client, discussion.id) as near:
        await far.until_ended()
        await near.until_ended()

    assert far.checker.messages == near.checker.messages
    assert len(far.checker.shown_whole) == 2


async def test_a_viewer_may_move_between_replicas_in_the_middle_of_a_message(
    make_arena, make_discussion, make_agent, client, connect, owner
):
    replica = make_arena()
    there = await connect(owner.access_token, at=replica)
    discussion = await make_discussion(
        agents=[await make_agent(model="openai/fake?tokens=30&delay_ms=20")], limits={"max_turns": 1}
    )
    async with watching(client, discussion.id) as here:
        await here.until(lambda event: event.type == "message.delta" and event.data["offset"] > 10)
    moved = here.events

    async with watching(there, discussion.id, last_event_id=moved[-1].id, knowing=moved) as viewer:
        await viewer.until_ended()

    assert len(viewer.checker.shown_whole) == 1


async def test_a_slow_viewer_gets_larger_pieces_and_misses_nothing(client, make_agent, make_discussion):
    """Backpressure: while nobody reads, the pieces join instead of queueing."""
    talker = await make_agent(model="openai/fake?tokens=2000&token_bytes=400", params={"max_tokens": 4000})
    discussion = await make_discussion(agents=[talker], limits={"max_turns": 1})
    address = f"/api/v1/discussions/{discussion.id}/events"
    async with client.stream("GET", address, headers={"Accept": "text/event-stream"}) as response:
        pieces = response.aiter_text()
        seen = await anext(pieces)
        await asyncio.sleep(1)
        async for piece in pieces:
            seen += piece

    assert seen.count("event: message.completed") == 1
    assert seen.count("event: message.delta") < 500
    assert [line for line in seen.split("\n") if line.startswith("event:")][-1] == "event: discussion.ended"
