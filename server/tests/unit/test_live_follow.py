"""What a terminal is shown of a discussion's events, whatever the stream goes through."""

import pytest

from app.cli.live_follow import Follower
from arena_client import Discussion, StreamEvent
from arena_client.decode import decode

SEAT = {"id": "p1", "kind": "llm", "role": "speaker", "handle": "ada", "name": "Ada"}
DISCUSSION = {
    "id": "d1",
    "topic": "Why?",
    "title": None,
    "status": "running",
    "end_reason": None,
    "turn": 0,
    "last_seq": 2,
    "version": 1,
    "next_speaker": None,
    "participants": [SEAT],
    "usage": {},
    "created_at": "2026-01-01T00:00:00Z",
}


class Screen:
    """A view that keeps what it is told."""

    def __init__(self):
        self.text_shown = ""
        self.told = []

    def turn_begins(self, seat, turn):
        self.told.append(f"{seat.name} begins")

    def text(self, piece):
        self.text_shown += piece

    def turn_begins_again(self, seat, turn, reason):
        self.told.append(f"{seat.name} begins again")

    def turn_ends(self, seat, turn, said):
        self.told.append(f"{seat.name} said {said.text}")

    def aside(self, seat, text):
        self.told.append(f"{seat.name} aside {text}")

    def failed(self, detail):
        self.told.append(f"failed {detail}")


@pytest.fixture
def screen():
    return Screen()


@pytest.fixture
def tell(screen):
    follower = Follower(decode(Discussion, DISCUSSION), {}, screen)
    return lambda event, **data: follower.tell(StreamEvent("2.1", event, data))


def test_after_a_reset_no_word_is_shown_twice(screen, tell):
    tell("turn.started", participant_id="p1", turn=1)
    tell("message.delta", offset=0, text="Well, ")
    tell("stream.reset", last_seq=2, reason="gone", snapshot=DISCUSSION)
    tell("message.delta", offset=0, text="Well, yes")
    tell("message.completed", content="Well, yes.", turn=1)

    assert screen.text_shown == "Well, yes."
    assert screen.told == ["Ada begins", "Ada said Well, yes."]


def test_whoever_the_snapshot_seats_may_speak(screen, tell):
    late = {**SEAT, "id": "p2", "handle": "bob", "name": "Bob"}

    tell("stream.reset", last_seq=2, reason="gone", snapshot=DISCUSSION | {"participants": [SEAT, late]})
    tell("turn.started", participant_id="p2", turn=1)

    assert screen.told == ["Bob begins"]


def test_that_we_lagged_is_not_shown(screen, tell):
    tell("turn.started", participant_id="p1", turn=1)
    tell("message.delta", offset=0, text="We")
    tell("stream.lagged", last_seq=2, reason="slow")
    tell("message.delta", offset=2, text="ll")

    assert (screen.text_shown, screen.told) == ("Well", ["Ada begins"])
