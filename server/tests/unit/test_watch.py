"""A watched discussion: whatever Valkey loses, doubles or delays, viewers are given the log and the text as it is."""

import asyncio
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.background import Errands
from app.core.errors import Unavailable
from app.domain import events
from app.domain.events import StoredEvent
from app.domain.speech import ToolEvent, read_speech
from app.domain.visibility import EVERYBODY, Reader
from app.services.live.frames import LogEntry
from app.services.live.hub import Hub
from app.services.live.position import Position
from app.services.live.streams import Standing
from app.services.live.viewer import Viewer
from app.services.live.watch import Watch
from tests.fixtures.viewer import Checker, parse_frame

pytestmark = pytest.mark.anyio

DISCUSSION = UUID(int=7)
AUTHOR, ADDRESSEE, OTHER = UUID(int=71), UUID(int=72), UUID(int=73)
SECRET = "Do not tell the others"
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=24)


ALLOWED = [Reader(seats=frozenset({AUTHOR})), Reader(seats=frozenset({OTHER, ADDRESSEE})), Reader(sees_all=True)]
REFUSED = [EVERYBODY, Reader(user_id=AUTHOR), Reader(seats=frozenset({OTHER}))]
READERS = [*ALLOWED, *REFUSED]


class World:
    """A discussion as PostgreSQL and Valkey hold it, and the publications that may or may not arrive.

    Stands for both ports of a watch: the log's reader, and the bus's retained text.
    """

    def __init__(self) -> None:
        self.log: list[StoredEvent] = []
        self.texts: dict[tuple[UUID, int], str] = {}
        self.wholes: dict[tuple[UUID, int, int], str] = {}
        self.sent: list[tuple] = []

    def commit(self, kind, visible_to=None, **data):
        event = StoredEvent(len(self.log) + 1, kind, "2026-01-01T00:00:00Z", orjson.dumps(data), visible_to)
        self.log.append(event)
        self.sent.append(("events", [event]))

    def open(self, turn, attempt):
        kind = events.TURN_STARTED if attempt == 1 else events.TURN_RETRIED
        self.commit(kind, message_id=UUID(int=turn), turn=turn, attempt=attempt)

    def say(self, turn, attempt, text):
        key = (UUID(int=turn), attempt)
        before = self.texts.get(key, "")
        offset = len(read_speech(before).text)
        self.texts[key] = self.wholes[(*key, offset)] = before + text
        self.sent.append(("text", (*key, offset, text)))

    def complete(self, turn, attempt, text):
        speech = read_speech(text)
        message = {"id": UUID(int=turn), "seq": len(self.log) + 1, "turn": turn, "attempt": attempt}
        who = {"participant_id": "p1", "content": speech.content, "tools": speech.calls()}
        self.commit("message.completed", **message, **who)

    def whisper(self, message_id=None, turn=None, to=ADDRESSEE):
        seq = len(self.log) + 1
        message_id = message_id or UUID(int=1000 + seq)
        self.commit(
            *("message.completed", (str(AUTHOR), str(to))),
            **{"id": message_id, "seq": seq, "turn": turn, "attempt": turn and 1, "content": SECRET, "tools": []},
        )

    def interject(self):
        seq = len(self.log) + 1
        self.commit(
            "message.completed", id=UUID(int=1000 + seq), seq=seq, turn=None, attempt=None, content="Wait!", tools=[]
        )

    async def after(self, discussion_id, after, limit):
        return self.log[after : after + limit]

    async def last_turn_event(self, discussion_id, upto):
        """The newest event that opens or closes a turn."""
        for event in reversed(self.log[:upto]):
            turn = orjson.loads(event.payload).get("turn")
            if event.type in {*events.TURN_OPENERS, events.TURN_FAILED, events.DISCUSSION_ENDED} or turn is not None:
                return event
        return None

    async def last_seqs(self, discussion_ids):
        return {DISCUSSION: len(self.log)}

    async def retained(self, discussion_id, message_id, attempt):
        return read_speech(self.texts.get((message_id, attempt), ""))


def viewer_at(position):
    return Viewer(Standing(UUID(int=1), UUID(int=2), UUID(int=3)), DISCUSSION, position)


async def all_shown(world, position):
    """What a viewer is given of a discussion that has ended."""
    shown = []
    async with Hub(channels=None, bus=world, reader=world).following(viewer_at(position)) as way:
        while (step := await way.next()) is not None:
            shown.extend(step.frames)
    return shown


@st.composite
def calls(draw):
    """A tool that begins and ends."""
    who = {"participant_id": "p1", "call_id": str(draw(st.uuids())), "tool": "calculator"}
    ended = {"ok": draw(st.booleans()), "duration_ms": 1, "summary": draw(TEXTS)}
    return [
        ToolEvent("tool.started", {**who, "arguments": draw(TEXTS)}).as_text(),
        ToolEvent("tool.finished", {**who, **ended}).as_text(),
    ]


@st.composite
def stories(draw):
    """What happens to a discussion, step by step, up to its end."""
    steps = [lambda world: world.commit("discussion.created"), lambda world: world.commit("discussion.started")]
    for turn in range(1, draw(st.integers(1, 3)) + 1):
        attempts = draw(st.integers(1, 2))
        for attempt in range(1, attempts + 1):
            said = draw(st.lists(st.one_of(TEXTS.map(lambda text: [text]), calls()), min_size=1, max_size=4))
            pieces = [piece for pieces in said for piece in pieces]
            steps.append(lambda world, turn=turn, attempt=attempt: world.open(turn, attempt))
            for piece in pieces:
                steps.append(lambda world, turn=turn, attempt=attempt, piece=piece: world.say(turn, attempt, piece))
                if draw(st.booleans()):
                    steps.append(draw(st.sampled_from([World.interject, World.whisper])))
        whole = "".join(pieces)
        steps.append(lambda world, turn=turn, attempt=attempts, whole=whole: world.complete(turn, attempt, whole))
    steps.append(lambda world: world.commit("discussion.ended"))
    return steps


@st.composite
def schedules(draw):
    """A story, and for each of its steps what becomes of the news of it and whether a viewer looks then."""
    fates = st.sampled_from(["arrives", "arrives", "is lost", "comes twice", "comes whole", "waits"])
    return [(step, draw(fates), draw(st.booleans())) for step in draw(stories())]


def deliver(watch, publication):
    kind, content = publication
    if kind == "events":
        watch.on_events(content)
    else:
        watch.on_text(*content)


def whole(world, publication):
    """The text from its beginning, as it is sent again when Valkey has lost it."""
    kind, content = publication
    if kind == "events":
        return publication
    message_id, attempt, offset, _text = content
    return kind, (message_id, attempt, 0, world.wholes[message_id, attempt, offset])


async def settle():
    for _ in range(6):
        await asyncio.sleep(0)


def look(watch, position, checker):
    """Give a viewer what is new to it."""
    for frame in watch.frames_after(position):
        checker.take(parse_frame(frame.as_sse().decode().removesuffix("\n\n")))


@settings(max_examples=150, deadline=None)
@given(schedule=schedules(), reader=st.sampled_from(READERS))
async def test_whatever_valkey_does_a_viewer_is_shown_the_log_and_the_text_once_and_in_order(schedule, reader):
    world = World()
    watch = Watch(DISCUSSION, world, world, Errands())
    await watch.open()
    position, checker = Position(0, reader=reader), Checker()
    for step, fate, looks in schedule:
        step(world)
        if fate == "waits":
            continue
        while world.sent:
            publication = world.sent.pop(0)
            if fate == "comes whole":
                publication = whole(world, publication)
            for _ in range({"is lost": 0, "comes twice": 2}.get(fate, 1)):
                deliver(watch, publication)
        if looks:
            await settle()
            look(watch, position, checker)
    watch.refresh()  # what the poll of `last_seq` does
    await settle()
    look(watch, position, checker)

    assert checker.ended
    assert [int(message["seq"]) for message in checker.messages.values()] == [
        event.seq
        for event in world.log
        if event.type == "message.completed" and (event.visible_to is None or reader in ALLOWED)
    ]


@settings(max_examples=100, deadline=None)
@given(story=stories(), place=st.integers(0, 100))
async def test_a_watch_opened_in_the_middle_goes_on_from_there(story, place):
    world = World()
    middle = 2 + place % (len(story) - 2)
    for step in story[:middle]:
        step(world)
    world.sent.clear()
    watch = Watch(DISCUSSION, world, world, Errands())
    await watch.open()
    position, checker = Position(watch.last_seq), Checker(position=(watch.last_seq, 0))
    event = await world.last_turn_event(DISCUSSION, watch.last_seq)
    position.speaking = None if event is None else _opened_by(event)
    look(watch, position, checker)

    for step in story[middle:]:
        step(world)
        while world.sent:
            deliver(watch, world.sent.pop(0))
        look(watch, position, checker)

    assert checker.ended


def _opened_by(event):
    return LogEntry(event).opens


async def test_a_jump_is_filled_from_the_log_without_waiting_for_a_poll():
    world = World()
    watch = Watch(DISCUSSION, world, world, Errands())
    await watch.open()
    for _ in range(3):
        world.interject()

    deliver(watch, world.sent[-1])
    await settle()

    assert watch.last_seq == 3


async def test_an_announcement_of_nothing_changes_nothing():
    world = World()
    world.interject()
    watch = Watch(DISCUSSION, world, world, Errands())
    await watch.open()

    viewer = viewer_at(Position(1))
    watch.viewers.add(viewer)
    waiting = asyncio.create_task(viewer.wait())
    await asyncio.sleep(0)
    watch.on_events([])
    await asyncio.sleep(0)

    assert watch.last_seq == 1
    assert not waiting.done()
    watch.wake()
    await waiting


async def test_a_long_log_is_kept_only_at_its_recent_end():
    world = World()
    watch = Watch(DISCUSSION, world, world, Errands())
    await watch.open()
    for _ in range(1000):
        world.interject()
        deliver(watch, world.sent.pop())

    assert watch.last_seq == 1000
    assert 0 < watch.last_seq - watch.floor <= 300


async def test_a_database_that_is_away_does_not_end_a_watch():
    """What a failed read missed comes with the next."""
    world = World()
    watch = Watch(DISCUSSION, world, world, Errands())
    await watch.open()
    reads = world.after

    async def fails(*_arguments):
        raise Unavailable("away")

    world.after = fails
    for _ in range(3):
        world.interject()
    deliver(watch, world.sent[-1])
    await settle()
    assert watch.last_seq == 0

    world.after = reads
    watch.refresh()
    await settle()

    assert watch.last_seq == 3


async def test_what_is_said_while_a_stream_opens_is_shown_as_it_is_spoken():
    """The viewer was let in at the second event; the turn was over before its watch had opened."""
    world = World()
    world.commit("discussion.created")
    world.commit("discussion.started")
    world.open(1, 1)
    world.say(1, 1, "All of it")
    world.complete(1, 1, "All of it")
    world.commit("discussion.ended")

    shown = await all_shown(world, Position(0, live_from=2))
    checker = Checker().replay([parse_frame(frame.as_sse().decode()) for frame in shown])

    assert checker.shown_whole == [str(UUID(int=1))]


def shown_to(watch, reader, seq=0):
    """The frames that a viewer at `seq` is given."""
    position = Position(seq, reader=reader)
    return [(frame.event, orjson.loads(frame.data)) for frame in watch.frames_after(position)]


async def open_watch(world):
    watch = Watch(DISCUSSION, world, world, Errands())
    await watch.open()
    return watch


@pytest.mark.parametrize("reader", REFUSED)
async def test_a_whisper_is_withheld_from_those_it_is_not_for(reader):
    world = World()
    watch = await open_watch(world)
    world.whisper()
    deliver(watch, world.sent[-1])

    assert shown_to(watch, reader) == [("message.withheld", {})]


@pytest.mark.parametrize("reader", ALLOWED)
async def test_a_whisper_is_shown_to_those_it_is_for(reader):
    world = World()
    watch = await open_watch(world)
    world.whisper()
    deliver(watch, world.sent[-1])

    [(kind, data)] = shown_to(watch, reader)
    assert (kind, data["content"]) == ("message.completed", SECRET)


@pytest.mark.parametrize("reader", READERS)
async def test_a_whisper_that_ends_an_open_turn_ends_it_for_all_and_is_spelt_out_to_none_it_is_not_for(reader):
    """No model whispers, but should a turn ever end so, what is left of it must not be told as deltas."""
    world = World()
    watch = await open_watch(world)
    world.open(1, 1)
    world.whisper(UUID(int=1), turn=1)
    world.open(2, 1)
    for publication in world.sent:
        deliver(watch, publication)

    position = Position(0, reader=reader)
    shown = watch.frames_after(position)

    assert position.speaking is not None
    assert position.speaking.turn == 2
    assert (SECRET in str(shown)) == (reader in ALLOWED)
    told = [frame for frame in shown if frame.event in {"message.withheld", "message.completed"}]
    assert len(told) == 1
    assert orjson.loads(told[0].data)["turn"] == 1


async def test_who_sits_down_while_watching_is_shown_what_is_whispered_to_the_new_seat():
    world, user = World(), UUID(int=9)
    watch = await open_watch(world)
    world.whisper()
    world.commit("participant.joined", participant={"id": str(UUID(int=5)), "user_id": str(UUID(int=4))})
    world.commit("participant.joined", participant={"id": str(ADDRESSEE), "user_id": str(user)})
    world.whisper()
    world.whisper(to=OTHER)
    for publication in world.sent:
        deliver(watch, publication)

    kinds = [kind for kind, _ in shown_to(watch, Reader(user))]

    assert kinds == [
        *("message.withheld", "participant.joined", "participant.joined", "message.completed", "message.withheld")
    ]
    assert "message.completed" not in dict(shown_to(watch, Reader(UUID(int=8))))


async def test_whispers_from_before_the_watch_are_withheld_too():
    """Read from the log, not from what the watch holds."""
    world = World()
    world.whisper()
    world.commit("discussion.ended")

    async def told(reader):
        return [frame.data for frame in await all_shown(world, Position(0, reader=reader))]

    assert SECRET.encode() not in b"".join(await told(EVERYBODY))
    assert SECRET.encode() in b"".join(await told(Reader(sees_all=True)))


async def test_a_closed_hub_leaves_no_reading_of_the_log_behind():
    """A connection taken from the pool after it was closed would never be given back."""

    class Stuck(World):
        reading, ended = asyncio.Event(), asyncio.Event()

        async def after(self, discussion_id, after, limit):
            self.reading.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.ended.set()

    world = Stuck()
    world.open(1, 1)
    hub = Hub(channels=None, bus=world, reader=world)
    async with hub.following(viewer_at(Position(0))):
        await asyncio.wait_for(world.reading.wait(), 1)
    assert not world.ended.is_set()

    await hub.close()

    assert world.ended.is_set()


async def test_whoever_was_shown_text_of_which_nothing_came_is_told_to_forget_it():
    world = World()
    world.open(1, 1)
    world.commit("discussion.ended")
    position = Position(1, 30)

    async def snapshot(discussion_id, seq):
        return {"last_seq": seq}

    world.snapshot = snapshot
    shown = await all_shown(world, position)

    assert [frame.event for frame in shown] == ["stream.reset", "discussion.ended"]
    assert orjson.loads(shown[0].data)["snapshot"] == {"last_seq": 1}


async def test_the_log_is_read_while_valkey_does_not_answer():
    class Frozen(World):
        async def retained(self, discussion_id, message_id, attempt):
            await asyncio.Event().wait()

    world, errands = Frozen(), Errands()
    world.open(1, 1)
    watch = Watch(DISCUSSION, world, world, errands)
    await watch.open()
    for _ in range(3):
        world.interject()
        watch.refresh()
        async with asyncio.timeout(1):
            while watch.last_seq < len(world.log):
                await asyncio.sleep(0.01)
    await errands.close()
