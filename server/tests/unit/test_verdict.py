"""The checker of the fault tests and of `make chaos` finds each kind of broken promise, and none in a sound log."""

from copy import deepcopy
from dataclasses import replace

import pytest

from bench.record import Record
from bench.verdict import judge
from bench.viewer import Event

TEXT = "I doubt it."


def message(turn, *, seq, attempt=1, content=TEXT):
    return {
        **{"id": f"m{turn}", "seq": seq, "turn": turn, "attempt": attempt},
        **{"kind": "llm", "content": content, "status": "complete"},
    }


def opener(kind, turn, attempt):
    return kind, {"turn": turn, "attempt": attempt, "message_id": f"m{turn}"}


SPOKEN = [
    ("discussion.started", {}),
    opener("turn.started", 1, 1),
    ("message.completed", message(1, seq=3)),
    opener("turn.started", 2, 1),
    opener("turn.retried", 2, 2),
    ("message.completed", message(2, seq=6, attempt=2)),
    ("discussion.ended", {}),
]


def record_of(log, **discussion):
    events = [{"seq": place, "type": kind, "data": data} for place, (kind, data) in enumerate(log, 1)]
    said = [data for kind, data in log if kind == "message.completed"]
    ends = log[-1][0] == "discussion.ended"
    turns = [one["turn"] for one in said if one["turn"] is not None]
    row = {"status": "ended" if ends else "running", "end_reason": None, "turn": len(turns), "last_seq": len(log)}
    names = ("id", "seq", "turn", "attempt", "content", "status")
    messages = [{name: one[name] for name in names} for one in said]
    return Record(row | discussion, events, messages, [{"turn": turn} for turn in turns])


def told_of(log, *, with_text=True):
    """All events of a log, each message shown in two pieces before it."""
    told = []
    for place, (kind, data) in enumerate(log, 1):
        if kind == "message.completed" and with_text:
            for offset, text in ((0, data["content"][:4]), (4, data["content"][4:])):
                piece = {"message_id": data["id"], "turn": data["turn"], "attempt": data["attempt"]}
                told.append(
                    Event(
                        0.0,
                        f"{place - 1}.{offset + len(text)}",
                        "message.delta",
                        piece | {"offset": offset, "text": text},
                    )
                )
        told.append(Event(0.0, str(place), kind, data))
    return told


def found(log, told=None, acknowledged=None, record=None, **how):
    verdict = judge(record or record_of(log), told_of(log) if told is None else told, acknowledged, **how)
    return {name for name, count in verdict.counts.items() if count}


def changed(place, kind, **data):
    log = deepcopy(SPOKEN)
    log[place - 1] = (kind, {**log[place - 1][1], **data})
    return log


def test_nothing_is_found_in_a_sound_log_with_a_retry():
    verdict = judge(record_of(SPOKEN), told_of(SPOKEN), {"m1": message(1, seq=3)}, turns=2)

    assert verdict.counts == {"lost": 0, "duplicated": 0, "overlaps": 0, "stuck": 0}, str(verdict)
    assert verdict.is_clean


@pytest.mark.parametrize("how", ["turn.failed", "turn.passed"])
def test_a_turn_that_was_given_up_leaves_no_hole(how):
    log = deepcopy(SPOKEN)
    log[2] = (how, {"turn": 1, "attempt": 1})

    assert found(log, record=record_of(log, turn=2)) == set()


def test_a_failed_turn_may_be_begun_anew_after_a_pause():
    log = [
        *SPOKEN[:2],
        ("turn.failed", {"turn": 1, "attempt": 1}),
        ("discussion.paused", {}),
        ("discussion.resumed", {}),
    ]
    log += [("turn.started", {"turn": 1, "attempt": 1, "message_id": "m1 anew"}), ("discussion.ended", {})]

    assert found(log) == set()


def test_an_acknowledged_message_that_is_not_in_the_log_is_lost():
    assert found(SPOKEN, acknowledged={"m9": message(9, seq=9)}) == {"lost"}


def test_an_acknowledged_message_whose_words_changed_is_lost():
    assert found(SPOKEN, acknowledged={"m1": message(1, seq=3, content="I am sure.")}) == {"lost"}


def test_an_event_that_a_viewer_was_told_and_the_log_has_otherwise_is_lost():
    assert found(SPOKEN, told_of(changed(1, "discussion.started", status="running"))) == {"lost"}


def test_a_viewer_that_missed_an_event_lost_it():
    told = [event for event in told_of(SPOKEN) if event.id != "4"]

    assert "lost" in found(SPOKEN, told)


def test_a_viewer_that_was_told_twice_was_told_twice():
    told = told_of(SPOKEN)

    assert found(SPOKEN, [*told[:2], *told[1:]]) == {"duplicated"}


def test_a_row_without_its_event_or_an_event_without_its_row_is_lost():
    record = record_of(SPOKEN)

    assert found(SPOKEN, record=replace(record, messages=record.messages[:1])) == {"lost"}
    assert found(SPOKEN, record=replace(record, messages=[*record.messages, message(3, seq=9)])) == {"lost"}


def test_a_log_whose_end_the_discussion_does_not_know_is_lost():
    assert found(SPOKEN, record=record_of(SPOKEN, last_seq=8)) == {"lost"}


def test_a_hole_in_the_turns_is_a_lost_turn():
    log = [*SPOKEN[:3], opener("turn.started", 3, 1), ("message.completed", message(3, seq=5)), SPOKEN[-1]]

    assert found(log) == {"lost"}


def test_fewer_turns_than_there_must_be_are_lost():
    assert found(SPOKEN, turns=3) == {"lost"}


def test_a_turn_that_is_taken_twice_is_found():
    again = message(1, seq=5) | {"id": "m1 again"}
    started = ("turn.started", {"turn": 1, "attempt": 1, "message_id": "m1 again"})
    log = [*SPOKEN[:3], started, ("message.completed", again), SPOKEN[-1]]

    assert found(log) == {"duplicated"}


def test_an_attempt_that_begins_twice_is_found():
    assert "duplicated" in found(changed(5, "turn.retried", attempt=1))


def test_a_turn_that_starts_within_another_overlaps():
    log = [*SPOKEN[:4], opener("turn.started", 3, 1), *SPOKEN[5:]]

    assert "overlaps" in found(log)


def test_a_completion_of_another_attempt_than_the_open_one_overlaps():
    assert "overlaps" in found(changed(6, "message.completed", attempt=1))


def test_text_of_an_attempt_that_is_not_open_overlaps():
    late = Event(0.0, "5.2", "message.delta", {"message_id": "m2", "turn": 2, "attempt": 1, "offset": 0, "text": "It"})
    told = told_of(SPOKEN, with_text=False)

    assert found(SPOKEN, [*told[:5], late, *told[5:]]) == {"overlaps"}


def test_an_event_after_the_end_overlaps():
    assert found([*SPOKEN, ("participant.left", {})]) == {"overlaps", "stuck"}


@pytest.mark.parametrize("offset, kind", [(2, "duplicated"), (6, "lost")])
def test_text_that_does_not_join_is_found(offset, kind):
    told = told_of(SPOKEN)
    place = next(place for place, event in enumerate(told) if event.data.get("offset") == 4)
    told[place] = replace(told[place], data={**told[place].data, "offset": offset})

    assert kind in found(SPOKEN, told)


def test_text_that_is_not_the_messages_is_found():
    told = told_of(SPOKEN)
    place = next(place for place, event in enumerate(told) if event.data.get("offset") == 4)
    told[place] = replace(told[place], data={**told[place].data, "text": "t it?"})

    assert found(SPOKEN, told) == {"lost"}


def test_a_discussion_that_has_not_ended_is_stuck_unless_it_need_not():
    assert found(SPOKEN[:-1]) == {"stuck"}
    assert found(SPOKEN[:-1], must_end=False) == set()


def test_a_viewer_that_was_never_told_of_the_end_is_stuck():
    assert found(SPOKEN, told_of(SPOKEN[:-1])) == {"stuck"}
