"""Snapshots: what a viewer is given whose place cannot be gone on from, and that nothing is lost by it."""

import pytest

from app.domain import events, snapshot
from app.domain.discussion import Status
from tests.factories.discussions import ENDLESS, seats
from tests.fixtures.deadlines import eventually
from tests.fixtures.reads import has_status, log_of, read
from tests.fixtures.viewer import parse_frame, watching

pytestmark = pytest.mark.anyio

NEVER_SHOWN = 999_999_999
OTHER_RULES = {"instructions": None, "limits": {"max_turns": 9}, "turn_policy": {"type": "random"}}
SECRET = "Between us: forty million."
LIVE_ONLY = {
    *(events.MESSAGE_DELTA, events.TOOL_STARTED, events.TOOL_FINISHED),
    *(events.STREAM_RESET, events.STREAM_LAGGED),
}
DURABLE = {
    value for name, value in vars(events).items() if name.isupper() and isinstance(value, str) and "." in value
} - LIVE_ONLY


@pytest.fixture
async def member(colleague):
    """Is not shown what others whisper."""
    return await colleague("member")


@pytest.fixture
async def eventful(client, owner, make_agent, make_discussion, make_model):
    """An ended discussion in which everything happened that can, and an ended fork of it."""
    scripts = {
        "Mute": make_model("empty").name,
        "Flaky": make_model("tokens=12&disconnect_after=6&fail_times=1").name,
        "Broken": make_model("status=400").name,
        "Slow": ENDLESS,
    }
    agents = [await make_agent(name, model=model, params={"max_tokens": 8000}) for name, model in scripts.items()]
    made = await make_discussion(
        status=Status.DRAFT,
        participants=[{"user_id": owner.id}, *seats(*agents)],
        limits={"max_turns": 8},
        on_turn_failure="continue",
        waiting={"human_seconds": 900},
    )
    address = f"/api/v1/discussions/{made.id}"
    handles = {seat["handle"]: seat["id"] for seat in made.participants}

    async def do(action, **body):
        (await client.post(f"{address}/{action}", json=body or None)).raise_for_status()

    async with watching(client, made.id) as viewer:
        await do("start")
        await do("pause")
        changes = {"title": "Changed", "topic": "Another", "instructions": "Be brief."}
        (await client.patch(address, json=changes)).raise_for_status()
        await do("participants", agent_id=(await make_agent("Late")).id)
        await do("resume")
        await do("messages", content=SECRET, visible_to=[handles["mute"]])
        await viewer.until(lambda event: event.type == "message.delta" and event.data["turn"] == 5)
        await do("messages", content="An aside.")
        await do("messages", content=SECRET, visible_to=[handles["mute"]])
        await do("pause")
        await viewer.until("discussion.pausing")
        await do("interrupt")
        await eventually(lambda: has_status(client, made, "paused"), 10, "the pause after the interrupted turn")
        await do("resume")
        await eventually(lambda: has_status(client, made, "waiting"), 10, "the second round")
        (await client.delete(f"{address}/participants/{handles['slow']}")).raise_for_status()
        await do("messages", content="I end.")
        await viewer.until_ended()
    forked = await client.post(f"{address}/fork", json={"start": False, **OTHER_RULES})
    forked.raise_for_status()
    (await client.post(f"/api/v1/discussions/{forked.json()['id']}/stop")).raise_for_status()
    return made, forked.json()


async def come_back_with(http, discussion, event_id):
    """All that a viewer of an ended discussion is told who comes back with that id."""
    headers = {"Accept": "text/event-stream", "Last-Event-ID": event_id}
    response = await http.get(f"/api/v1/discussions/{discussion['id']}/events", headers=headers)
    assert response.status_code == 200, response.text
    return [event for frame in response.text.split("\n\n") if (event := parse_frame(frame)) is not None]


def folded(state):
    """Its fields that events change; sums of prices in another order are another float."""
    chosen = {name: state[name] for name in snapshot.FOLDED}
    return chosen | {"usage": pytest.approx(chosen["usage"])}


def apply_all(state, seen):
    for event in seen:
        state = snapshot.apply(state, event.position[0], event.type, event.data)
    return state


async def open_at(http, discussion):
    """The places in its log at which a message was being spoken."""
    places, is_open = set(), False
    for event in await log_of(http, discussion):
        kind = event["type"]
        if kind in events.TURN_OPENERS:
            is_open = True
        elif kind in events.TURN_CLOSERS or (kind == events.MESSAGE_COMPLETED and event["data"]["turn"] is not None):
            is_open = False
        if is_open:
            places.add(event["seq"])
    return places


async def resets_of(http, made):
    """What is told to whoever comes back from a place that never was, wherever in the log: (reset, events after it)."""
    fresh, spoken_at = await read(http, made), await open_at(http, made)
    for seq in range(fresh["last_seq"] + 1):
        seen = await come_back_with(http, made, f"{seq}.{NEVER_SHOWN}")
        place = next((place for place, event in enumerate(seen) if event.type == events.STREAM_RESET), None)
        assert place == 0 or seq in spoken_at
        if place is None:  # the attempt came to nothing, so nothing that was shown of it is to be taken back
            continue
        reset, after = seen[place], seen[place + 1 :]
        assert reset.data["last_seq"] == reset.data["snapshot"]["last_seq"] == reset.position[0]
        assert [event.position[0] for event in after] == [*range(reset.position[0] + 1, fresh["last_seq"] + 1)]
        yield reset, after


async def test_from_every_place_the_snapshot_and_the_events_after_it_are_a_fresh_read(client, member, eventful):
    """And no snapshot holds a word of a whisper, whoever it is for."""
    made, fork = eventful
    kinds, resets = set(), 0
    for http, discussion in ((client, made), (client, fork), (member.http, made)):
        fresh = folded(await read(http, discussion))
        kinds |= {event["type"] for event in await log_of(http, discussion)}
        async for reset, after in resets_of(http, discussion):
            resets += 1
            assert SECRET not in str(reset.data)

            state = apply_all(reset.data["snapshot"], after)

            assert {name: state[name] for name in snapshot.FOLDED} == fresh, reset.id

    assert kinds == DURABLE, "else this test shows less than it says"
    assert resets > 80
    assert SECRET in str(await log_of(client, made))
    assert SECRET not in str(await log_of(member.http, made))


async def test_the_snapshot_at_the_end_is_the_fresh_read(client, eventful):
    for made in eventful:
        fresh = await read(client, made)

        [reset] = await come_back_with(client, made, f"{fresh['last_seq']}.{NEVER_SHOWN}")

        taken = reset.data["snapshot"]
        assert taken["usage"] == pytest.approx(fresh["usage"])
        changing = {"usage": None, "updated_at": None}
        assert taken | changing == fresh | changing
