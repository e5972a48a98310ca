"""Who may read a whisper, and what the others get in its place."""

from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.events import StoredEvent
from app.domain.visibility import EVERYBODY, Reader, as_copied, as_shown

PEOPLE = [UUID(int=number) for number in range(1, 7)]
SEATS = st.frozensets(st.sampled_from(PEOPLE), max_size=4)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
MESSAGES = st.fixed_dictionaries({"content": TEXTS, "handle": TEXTS, "turn": st.none() | st.integers(1, 10_000)})


def whispered(message, visible_to):
    names = None if visible_to is None else tuple(map(str, visible_to))
    return StoredEvent(7, "message.completed", "2026-01-01T00:00:00Z", orjson.dumps(message), names)


@given(message=MESSAGES, seats=SEATS)
def test_what_is_said_to_all_is_read_by_all_as_it_is(message, seats):
    event = whispered(message, None)

    assert as_shown(event, Reader(seats=seats)) is event
    assert as_copied(event) is event


@given(visible_to=SEATS.filter(bool), seats=SEATS)
def test_a_whisper_is_read_from_the_seats_it_names_and_from_no_others(visible_to, seats):
    event = whispered({"content": "psst", "turn": None}, visible_to)

    assert (as_shown(event, Reader(seats=seats)) is event) == bool(visible_to & seats)


@given(visible_to=SEATS.filter(bool))
def test_whoever_controls_discussions_reads_every_whisper(visible_to):
    event = whispered({"content": "psst", "turn": None}, visible_to)

    assert as_shown(event, Reader(sees_all=True)) is event


@given(message=MESSAGES, visible_to=SEATS.filter(bool))
def test_in_the_place_of_a_whisper_there_is_nothing_of_it_but_that_a_turn_is_over(message, visible_to):
    event = whispered(message, visible_to)

    shown = as_shown(event, EVERYBODY)

    assert (shown.seq, shown.type, shown.created_at) == (event.seq, "message.withheld", event.created_at)
    assert shown.visible_to is None
    assert orjson.loads(shown.payload) == ({} if message["turn"] is None else {"turn": message["turn"]})


def test_a_fork_is_given_no_whisper_and_no_gap():
    events = [whispered({"content": text, "turn": None}, to) for text, to in (("a", None), ("b", []), ("c", None))]

    assert [as_copied(event).type for event in events] == ["message.completed", "message.withheld", "message.completed"]


def test_a_reader_keeps_the_seats_they_had():
    first, second, another = PEOPLE[:3]
    reader = Reader().seated(first).seated(second)

    assert reader.may_read([first])
    assert reader.may_read([second])
    assert not reader.may_read([another])


@pytest.mark.parametrize("reader", [EVERYBODY, Reader(sees_all=True)])
def test_everybody_is_nobody_in_particular(reader):
    assert reader.may_read(None)
    assert reader.may_read([]) == reader.sees_all
