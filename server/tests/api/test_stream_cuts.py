"""A stream cut anywhere: with what was whole by then, the viewer comes back and has everything, once."""

import asyncio
import codecs

import pytest

from app.domain.discussion import Status
from tests.fixtures.socket import socket_of
from tests.fixtures.viewer import Checker, parse_frame

pytestmark = pytest.mark.anyio

AT_ONCE = 6
QUICKLY, SLOWLY = "openai/fake?unicode&tokens=24&delay_ms=15", "openai/fake?unicode&tokens=60&delay_ms=35"
LONGEST_SECONDS = 30


def states_by_byte(recorded):
    """The events that a conforming client has dispatched after each byte (WHATWG HTML, 9.2.6), fed one by one."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    seen, lines, line = [], [], ""
    yield tuple(seen)
    for byte in recorded:
        for character in decoder.decode(bytes([byte])):
            if character != "\n":
                line += character
            elif line:
                lines, line = [*lines, line], ""
            else:
                event = parse_frame("\n".join(lines))
                seen, lines = [*seen, event] if event else seen, []
        yield tuple(seen)


async def start(http, discussion):
    (await http.post(f"/api/v1/discussions/{discussion['id']}/start")).raise_for_status()


async def bytes_of(http, discussion, last_id=None, most=None, then=None):
    """What comes of the stream, to its end or cut after so many bytes; `then` is done once it is open."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
    recorded = b""
    async with http.stream("GET", f"/api/v1/discussions/{discussion['id']}/events", headers=headers) as response:
        assert response.status_code == 200
        if then is not None:
            await then()
        async for piece in response.aiter_raw():
            recorded += piece
            if most is not None and len(recorded) >= most:
                break
    return recorded[:most]


def events_in(recorded):
    *_, seen = states_by_byte(recorded)
    return list(seen)


async def texts_of(http, discussion):
    page = (await http.get(f"/api/v1/discussions/{discussion['id']}/messages")).json()
    return {message["id"]: message["content"].encode() for message in page["items"]}


def assert_whole(events, committed):
    """The log to its end, each event once and in order, with messages that are byte for byte the committed ones."""
    checker = Checker().replay(events)
    assert checker.ended
    assert {one: message["content"].encode() for one, message in checker.messages.items()} == committed
    return checker


def assert_shown_whole(events, committed):
    """And every one of them was shown as it was said."""
    assert_whole(events, committed)
    shown = dict.fromkeys(committed, b"")
    for event in events:
        if event.type == "message.delta":
            shown[event.data["message_id"]] += event.data["text"].encode()
    assert shown == committed


async def several_at_once(do, things):
    room = asyncio.Semaphore(AT_ONCE)

    async def one(thing):
        async with room:
            return await do(thing)

    async with asyncio.timeout(LONGEST_SECONDS):
        return await asyncio.gather(*map(one, things))


@pytest.fixture
def begin(make_agent, make_discussion):
    """A discussion of one message in letters of one to four bytes."""

    async def make(model, status=Status.RUNNING):
        return await make_discussion(
            status=status, agents=[await make_agent(model=model)], limits={"max_turns": 1}, topic="Où? 🦊"
        )

    return make


async def test_a_stream_cut_at_any_byte_goes_on_behind_the_last_whole_event(client, begin):
    discussion = await begin(QUICKLY, Status.DRAFT)
    recorded = await bytes_of(client, discussion, then=lambda: start(client, discussion))
    committed = await texts_of(client, discussion)
    states = {seen[-1].id if seen else None: seen for seen in states_by_byte(recorded)}
    assert_shown_whole(states[events_in(recorded)[-1].id], committed)
    assert len(states) > 10
    assert len(recorded.decode()) < len(recorded)

    async def come_back(last_id):
        return [*states[last_id], *events_in(await bytes_of(client, discussion, last_id))]

    for whole in await several_at_once(come_back, states):
        assert_whole(whole, committed)
        assert "stream.reset" not in {event.type for event in whole}


async def test_a_stream_cut_at_bytes_of_a_message_being_spoken_goes_on_where_it_was(client, begin):
    """Each viewer comes back after so many bytes again and again, wherever in a character or a frame that is."""
    discussion = await begin(SLOWLY)

    async def follow(bite):
        seen, cuts, most = [], 0, bite
        while not Checker().replay(seen).ended:
            new = events_in(await bytes_of(client, discussion, seen[-1].id if seen else None, most))
            most = bite if new else 2 * most  # else it would never come past an event that is longer
            cuts += bool(new) and new[-1].type == "message.delta"
            seen += new
        return seen, cuts

    viewings = await several_at_once(follow, range(220, 220 + 61 * AT_ONCE, 61))

    committed = await texts_of(client, discussion)
    for seen, _cuts in viewings:
        assert_shown_whole(seen, committed)
    assert sum(cuts for _seen, cuts in viewings) >= 3 * len(viewings)


async def test_a_channel_cut_at_any_frame_goes_on_behind_it(owner, client, begin):
    discussion = await begin(QUICKLY, Status.DRAFT)
    async with socket_of(owner) as socket:
        await socket.subscribe(discussion)
        await start(client, discussion)
        await socket.until_event(discussion, "discussion.ended")
        recorded = socket.events(discussion)
    committed = await texts_of(client, discussion)
    assert_shown_whole(recorded, committed)

    async def come_back(place):
        seen = recorded[:place]
        async with socket_of(owner) as socket:
            await socket.subscribe(discussion, after=seen[-1].id if seen else None, knowing=seen)
            if place < len(recorded):
                await socket.until_event(discussion, "discussion.ended")
            return [*seen, *socket.events(discussion)]

    for whole in await several_at_once(come_back, range(len(recorded) + 1)):
        assert_whole(whole, committed)
        assert "stream.reset" not in {event.type for event in whole}


async def test_a_channel_cut_while_a_message_is_spoken_goes_on_where_it_was(owner, client, begin):
    discussion = await begin(SLOWLY)

    async def follow(frames):
        seen, cuts = [], 0
        while not Checker().replay(seen).ended:
            async with socket_of(owner) as socket:
                await socket.subscribe(discussion, after=seen[-1].id if seen else None, knowing=seen)

                def has_enough(event, socket=socket):
                    return len(socket.events(discussion)) >= frames or event.type == "discussion.ended"

                await socket.until_event(discussion, has_enough)
                socket.cut()
                new = socket.events(discussion)
            cuts += new[-1].type == "message.delta"
            seen += new
        return seen, cuts

    viewings = await several_at_once(follow, [1, 2, 3, 5])

    committed = await texts_of(client, discussion)
    for seen, _cuts in viewings:
        assert_shown_whole(seen, committed)
    assert sum(cuts for _seen, cuts in viewings) >= 3 * len(viewings)
