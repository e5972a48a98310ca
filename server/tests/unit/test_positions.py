"""Where a viewer stands, and which frames take it further."""

from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import events
from app.domain.events import StoredEvent
from app.services.live import frames
from app.services.live.bus import decode_events, encode_events
from app.services.live.frames import LogEntry
from app.services.live.position import BadEventId, OpenMessage, Position
from tests.fixtures.viewer import Checker, parse_frame

# No text that is kept holds NUL (PostgreSQL has none), so a message on its way marks events with it.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)
MESSAGE = UUID(int=1)


def entry(place, kind, **data):
    return LogEntry(StoredEvent(place, kind, "2026-01-01T00:00:00.000000Z", orjson.dumps(data)))


def opened(seq, message_id=MESSAGE, turn=1, attempt=1, kind=events.TURN_STARTED):
    return entry(seq, kind, message_id=message_id, turn=turn, attempt=attempt)


def completed(seq, content, message_id=MESSAGE, turn=1, attempt=1, tools=()):
    said = {"content": content, "tools": tools, "participant_id": UUID(int=0)}
    return entry(seq, events.MESSAGE_COMPLETED, id=message_id, seq=seq, turn=turn, attempt=attempt, **said)


def seen(frame):
    return parse_frame(frame.as_sse().decode().removesuffix("\n\n"))


@pytest.mark.parametrize(("event_id", "seq", "shown"), [("0", 0, 0), ("7", 7, 0), ("7.12", 7, 12), ("007.0", 7, 0)])
def test_an_event_id_says_where_a_viewer_stands(event_id, seq, shown):
    position = Position.parse(event_id)

    assert (position.seq, position.shown) == (seq, shown)


@given(seq=st.integers(0, 999_999_999), shown=st.integers(0, 999_999_999))
def test_every_position_reads_back_from_its_id(seq, shown):
    assert Position.parse(Position(seq, shown).event_id) == Position(seq, shown)


@given(garbage=st.text())
def test_garbage_is_no_position(garbage):
    try:
        position = Position.parse(garbage)
    except BadEventId:
        return
    assert position.seq >= 0
    assert garbage.isascii()
    assert all(character.isdigit() or character == "." for character in garbage)


@pytest.mark.parametrize(
    "event_id", ["", "1.", ".1", "1.2.3", "-1", "+1", " 1", "1\n", "1_0", "٣", "1234567890", "0x1"]
)
def test_what_is_not_of_its_form_is_no_event_id(event_id):
    with pytest.raises(BadEventId):
        Position.parse(event_id)


def test_a_turn_opens_its_message():
    position = Position(2)

    [frame] = frames.advance(position, opened(3))

    assert (frame.event_id, frame.event) == ("3", "turn.started")
    assert position.speaking == OpenMessage(MESSAGE, 1, 1)


def test_another_attempt_opens_the_message_anew():
    position = Position(3, 5, OpenMessage(MESSAGE, 1, 1))

    [frame] = frames.advance(position, opened(4, attempt=2, kind=events.TURN_RETRIED))

    assert frame.event_id == "4"
    assert (position.shown, position.speaking) == (0, OpenMessage(MESSAGE, 1, 2))


def test_what_was_not_shown_of_a_message_comes_before_its_end():
    position = Position(3, 2, OpenMessage(MESSAGE, 1, 1))

    rest, end = frames.advance(position, completed(4, "naïve 🦊!"))

    assert (rest.event_id, orjson.loads(rest.data)["offset"], orjson.loads(rest.data)["text"]) == ("3.8", 2, "ïve 🦊!")
    assert (end.event_id, end.event, position.speaking) == ("4", "message.completed", None)


def test_an_old_message_is_not_shown_in_pieces_too():
    position = Position(3, 0, OpenMessage(MESSAGE, 1, 1), live_from=9)

    assert [frame.event for frame in frames.advance(position, completed(4, "said long ago"))] == ["message.completed"]


def test_somebody_elses_message_leaves_the_open_one_open():
    speaking = OpenMessage(MESSAGE, 1, 1)
    position = Position(3, 5, speaking)

    [frame] = frames.advance(position, completed(4, "Wait!", message_id=UUID(int=2), turn=None))

    assert frame.event_id == "4.5"
    assert (position.speaking, position.shown) == (speaking, 5)


@pytest.mark.parametrize("kind", [events.TURN_FAILED, events.DISCUSSION_ENDED])
def test_a_failure_or_the_end_closes_the_message(kind):
    position = Position(3, 5, OpenMessage(MESSAGE, 1, 1))

    [frame] = frames.advance(position, entry(4, kind))

    assert (frame.event_id, position.speaking, position.shown) == ("4", None, 0)


def test_a_message_shorter_than_what_was_shown_is_taken_back_first():
    position = Position(3, 9, OpenMessage(MESSAGE, 1, 1))
    assert frames.contradicts(position, completed(4, "short"))

    taken_back = frames.reset(position, {"last_seq": 3})
    shown = [taken_back, *frames.advance(position, completed(4, "short"))]

    assert [frame.event for frame in shown] == ["stream.reset", "message.delta", "message.completed"]
    assert orjson.loads(taken_back.data)["snapshot"] == {"last_seq": 3}
    assert position.contradiction is None


@st.composite
def spoken_messages(draw):
    """A message's text, and what was called at places of it."""
    content = draw(TEXTS)
    places = sorted(draw(st.lists(st.integers(0, len(content)), max_size=3)))
    call = {"tool": "calculator", "arguments": {}, "ok": True, "duration_ms": 1, "summary": "4"}
    return content, [{**call, "call_id": f"call-{number}", "offset": place} for number, place in enumerate(places)]


@st.composite
def logs(draw):
    """A whole log: turns, some tried again, some with others' words in between; with what each attempt said."""
    entries, seq = [entry(1, "discussion.created"), entry(2, "discussion.started")], 2
    for turn in range(1, draw(st.integers(1, 4)) + 1):
        message_id, attempts = UUID(int=turn), draw(st.integers(1, 3))
        for attempt in range(1, attempts + 1):
            kind = events.TURN_STARTED if attempt == 1 else events.TURN_RETRIED
            entries.append(opened(seq := seq + 1, message_id, turn, attempt, kind))
            asides = draw(st.integers(0, 2))
            entries += [completed(seq + n, "Wait!", UUID(int=100 + seq + n), None, None) for n in range(1, asides + 1)]
            seq += asides
        content, tools = draw(spoken_messages())
        entries.append(completed(seq := seq + 1, content, message_id, turn, attempts, tools))
    return [*entries, entry(seq + 1, events.DISCUSSION_ENDED)]


def stream(log, position, draw):
    """What a viewer is given from a position on, the open message shown in pieces of any size."""
    final = {one.completes: one.speech for one in log if one.completes}
    for one in log:
        if one.seq <= position.seq:
            continue
        if position.speaking is not None:
            speech = final[position.speaking.message_id]
            while position.shown < len(speech.text) and draw(st.booleans()):
                yield from frames.spoken(position, position.speaking, speech, draw(st.integers(1, 9)))
        yield from frames.advance(position, one)


@given(log=logs(), data=st.data())
def test_from_any_id_of_any_stream_the_rest_joins_without_a_gap_or_a_double(log, data):
    first = [seen(frame) for frame in stream(log, Position(0), data.draw)]
    Checker().replay(first)
    place = data.draw(st.integers(0, len(first) - 1))
    known = first[: place + 1]

    position = Position.parse(known[-1].id)
    openers = [one for one in log if one.seq <= position.seq and (one.opens or one.data.get("turn") or one is log[-1])]
    position.speaking = openers[-1].opens if openers else None
    again = [seen(frame) for frame in stream(log, position, data.draw)]

    checker = Checker().replay([*known, *again])
    assert checker.ended
    assert list(checker.messages) == [one.data["id"] for one in log if one.completes]


@given(
    made=st.lists(
        st.builds(
            lambda seq, kind, data: StoredEvent(seq, kind, "2026-01-01T00:00:00Z", orjson.dumps(data)),
            st.integers(1, 9**9),
            st.sampled_from(["message.completed", "turn.started"]),
            st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), TEXTS | st.just("\n\r\x00")),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_events_survive_their_way_through_valkey(made):
    assert decode_events(encode_events(made)) == made
