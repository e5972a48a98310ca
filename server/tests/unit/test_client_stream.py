"""The client's stream of events: whatever the connection goes through, each event comes once."""

import threading
import time

import pytest

from arena_client import ArenaProblem, ArenaUnreachable, backoff
from tests.fixtures.scripted_server import Reply, ScriptedServer, Stream, frame, refusal

DISCUSSION = {
    "id": "d1",
    "topic": "Why?",
    "title": None,
    "status": "running",
    "end_reason": None,
    "turn": 0,
    "last_seq": 2,
    "version": 1,
    "next_speaker": {"participant_id": "p1", "handle": "agent-1", "reason": "round_robin"},
    "participants": [{"id": "p1", "kind": "llm", "role": "speaker", "handle": "agent-1", "name": "Agent 1"}],
    "usage": {"prompt_tokens": 0, "completion_tokens": 0, "cost_usd": 0.0},
    "created_at": "2026-01-01T00:00:00Z",
}
EVENTS = "/discussions/d1/events"
ENDED = frame("9", "discussion.ended", end_reason="max_turns")
SOON = b"retry: 10\n\n"


@pytest.fixture(autouse=True)
def without_much_waiting(monkeypatch):
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.01)


@pytest.fixture
def client(server, make_client):
    with make_client(server.url, "token") as client:
        yield client


def positions(server):
    return [asked.headers.get("last-event-id") for asked in server.of(EVENTS)]


def delta(event_id: str, text: str) -> bytes:
    return frame(event_id, "message.delta", text=text)


def test_events_come_typed_and_in_order(server, client):
    start = frame("3", "turn.started", turn=1)
    server.on("GET", EVENTS, Stream([SOON, start, b": heartbeat\n\n", delta("3.4", "Äh 🤔"), ENDED]))

    events = list(client.discussions.stream("d1"))

    assert [(event.id, event.event) for event in events] == [
        ("3", "turn.started"),
        ("3.4", "message.delta"),
        ("9", "discussion.ended"),
    ]
    assert events[1].data == {"text": "Äh 🤔"}
    assert positions(server) == [None]


def test_it_ends_behind_the_last_event_of_what_has_ended(server, client):
    """Told to come back in a day, as browsers are, which cannot be told that there is nothing more."""
    server.on("GET", EVENTS, Stream([SOON, b"retry: 86400000\n\n"]))

    began = time.monotonic()
    assert list(client.discussions.stream("d1", after="9")) == []

    assert time.monotonic() - began < 5
    assert positions(server) == ["9"]


def test_it_ends_with_the_discussion_though_the_server_holds_the_connection(server, client):
    server.on("GET", EVENTS, Stream([ENDED], then="hold"))

    began = time.monotonic()
    assert len(list(client.discussions.stream("d1"))) == 1
    assert time.monotonic() - began < 5


def test_a_frame_may_come_in_any_pieces(server, client):
    whole = SOON + delta("3.4", "Äh 🤔") + ENDED
    server.on("GET", EVENTS, Stream([whole[at : at + 3] for at in range(0, len(whole), 3)]))

    assert [event.data.get("text") for event in client.discussions.stream("d1")] == ["Äh 🤔", None]


@pytest.mark.parametrize("then", ["end", "cut"])
def test_a_lost_connection_is_made_again_from_the_last_event(server, client, then):
    half = delta("3.8", "lo ")[:-9]
    server.on("GET", EVENTS, Stream([SOON, delta("3.4", "Hel"), half], then=then), Stream([delta("3.8", "lo "), ENDED]))

    stream = client.discussions.stream("d1", after="2")

    assert [event.id for event in stream] == ["3.4", "3.8", "9"]
    assert positions(server) == ["2", "3.4"]
    assert stream.last_event_id == "9"


def test_no_event_comes_twice_though_the_server_begins_anew(server, client):
    seen = [
        frame("1", "discussion.created"),
        frame("2", "turn.started"),
        delta("2.4", "Hell"),
        delta("2.10", "o, you "),
    ]
    server.on("GET", EVENTS, Stream([SOON, *seen], then="cut"), Stream([*seen, delta("2.14", "two."), ENDED]))

    assert [event.id for event in client.discussions.stream("d1")] == ["1", "2", "2.4", "2.10", "2.14", "9"]


def test_after_a_reset_the_text_comes_anew(server, client):
    again = [frame("2", "stream.reset", last_seq=2), delta("2.4", "Good"), delta("2.5", "!"), ENDED]
    server.on(
        "GET", EVENTS, Stream([SOON, frame("2", "turn.started"), delta("2.5", "Hello")], then="cut"), Stream(again)
    )

    ids = [event.id for event in client.discussions.stream("d1")]

    assert ids == ["2", "2.5", "2", "2.4", "2.5", "9"]


def test_a_server_that_is_away_for_a_while_is_waited_for(server, client):
    away = refusal(503, "unavailable", **{"Retry-After": "0"})
    server.on("GET", EVENTS, away, Reply(b"", 502), Reply(b"<html>", headers={"Content-Type": "text/html"}))
    server.on("GET", EVENTS, Stream([ENDED]))

    assert [event.id for event in client.discussions.stream("d1")] == ["9"]
    assert len(positions(server)) == 4


@pytest.mark.parametrize("status", [403, 404, 422])
def test_a_refusal_that_will_not_pass_is_raised_at_once(server, client, status):
    server.on("GET", EVENTS, refusal(status, "refused"))

    with pytest.raises(ArenaProblem) as caught:
        next(client.discussions.stream("d1"))

    assert (caught.value.status, len(positions(server))) == (status, 1)


def test_patience_has_an_end(make_client):
    with ScriptedServer() as gone:
        url = gone.url

    with make_client(url, "token") as client, pytest.raises(ArenaUnreachable, match="cannot be had again"):
        next(client.discussions.stream("d1", patience_seconds=0.1))


def test_patience_begins_anew_with_every_event(server, client):
    pieces = [Stream([SOON, delta(f"3.{number}", "x")], then="cut") for number in range(1, 6)]
    server.on("GET", EVENTS, *pieces, Stream([ENDED]))

    assert len(list(client.discussions.stream("d1", patience_seconds=0.02))) == 6


def test_closing_it_releases_the_thread_that_waits_for_an_event(server, client):
    server.on("GET", EVENTS, Stream([frame("1", "turn.started")], then="hold"))
    stream = client.discussions.stream("d1")
    assert next(stream).id == "1"
    rest = []
    reader = threading.Thread(target=lambda: rest.extend(stream))
    reader.start()
    time.sleep(0.1)

    stream.close()

    reader.join(2)
    assert not reader.is_alive()
    assert rest == []


def test_closing_it_releases_the_thread_that_waits_to_try_again(server, client):
    server.on("GET", EVENTS, refusal(503, "unavailable", **{"Retry-After": "30"}))
    stream = client.discussions.stream("d1")
    reader = threading.Thread(target=lambda: list(stream))
    reader.start()
    time.sleep(0.1)

    stream.close()

    reader.join(2)
    assert not reader.is_alive()


def test_a_reader_that_has_seen_enough_leaves_no_connection_behind(server, client):
    server.on("GET", EVENTS, Stream([frame("1", "turn.started"), frame("2", "turn.started")], then="hold"))

    with client.discussions.stream("d1") as stream:
        for _event in stream:
            break

    assert server.left.wait(2)
    assert list(stream) == []


def test_a_withheld_message_is_an_event_like_any_other(server, client):
    """What comes after it is not missed, also over a cut connection."""
    withheld = frame("4", "message.withheld")
    server.on("GET", EVENTS, Stream([SOON, frame("3", "turn.started"), withheld], "cut"), Stream([withheld, ENDED]))

    events = list(client.discussions.stream("d1"))

    assert [(event.id, event.event) for event in events] == [
        ("3", "turn.started"),
        ("4", "message.withheld"),
        ("9", "discussion.ended"),
    ]
    assert events[1].data == {}
    assert positions(server) == [None, "4"]


def test_a_viewer_that_lagged_is_told_and_goes_on_from_there(server, client):
    """Though the server should end the stream after it, nobody waits for that."""
    lagged = frame("3.4", "stream.lagged", last_seq=3, reason="slow")
    server.on(
        "GET", EVENTS, Stream([SOON, delta("3.4", "Hel"), lagged], then="hold"), Stream([delta("3.8", "lo"), ENDED])
    )

    began = time.monotonic()
    events = [(event.id, event.event) for event in client.discussions.stream("d1")]

    assert time.monotonic() - began < 5
    assert events == [
        ("3.4", "message.delta"),
        ("3.4", "stream.lagged"),
        ("3.8", "message.delta"),
        ("9", "discussion.ended"),
    ]
    assert positions(server) == [None, "3.4"]


@pytest.mark.parametrize("event", ["stream.reset", "stream.lagged"])
def test_what_is_told_of_the_stream_is_new_though_its_id_was_seen(server, client, event):
    seen = [frame("2", "turn.started"), delta("2.4", "Hell")]
    told = frame("2.4", event, last_seq=2, reason="gone")
    server.on("GET", EVENTS, Stream([SOON, *seen], then="cut"), Stream([told]), Stream([ENDED]))

    events = [event.event for event in client.discussions.stream("d1")]

    assert events == ["turn.started", "message.delta", event, "discussion.ended"]
    assert positions(server)[:2] == [None, "2.4"]


def test_a_reset_brings_the_discussion_that_what_follows_builds_on(server, client):
    server.on("GET", EVENTS, Stream([frame("2", "stream.reset", last_seq=2, snapshot=DISCUSSION), ENDED]))

    reset, ended = client.discussions.stream("d1")

    assert (reset.snapshot.topic, reset.snapshot.participants[0].handle) == ("Why?", "agent-1")
    assert ended.snapshot is None


def test_notifications_go_on_over_connections_and_ends_of_discussions(server, client):
    """Ids that look like numbers are none: a later one may be smaller."""
    first = [frame("71", "discussion.started", status="running"), frame("72", "discussion.ended", status="ended")]
    rest = [frame("8", "discussion.ended", status="ended"), frame("b/9", "discussion.created", status="draft")]
    server.on(
        "GET", "/notifications", Stream([SOON, *first], then="cut"), Stream([SOON, *rest]), Stream([], then="hold")
    )

    with client.notifications(after="70") as stream:
        ids = [next(stream).id for _ in range(4)]

    assert ids == ["71", "72", "8", "b/9"]
    assert [asked.headers["last-event-id"] for asked in server.of("/notifications")[:2]] == ["70", "72"]
    assert stream.last_event_id == "b/9"


def test_a_notification_that_comes_again_is_not_given_again(server, client):
    once, next_one = frame("x1", "discussion.paused"), frame("x2", "discussion.resumed")
    server.on("GET", "/notifications", Stream([SOON, once], then="cut"), Stream([once, next_one], then="hold"))

    with client.notifications() as stream:
        assert [next(stream).id, next(stream).id] == ["x1", "x2"]

    assert server.left.wait(2)


def test_notifications_without_a_beginning_begin_with_what_comes(server, client):
    server.on("GET", "/notifications", Stream([frame("5", "discussion.created")], then="hold"))

    with client.notifications() as stream:
        assert next(stream).event == "discussion.created"

    assert "last-event-id" not in server.of("/notifications")[0].headers
