"""When a viewer comes back, and when it gives up."""

import httpx2
import pytest

from arena_client import ArenaUnreachable
from arena_client.backoff import SHORTEST_SECONDS
from arena_client.events import DiscussionCursor
from arena_client.following import Following
from arena_client.transport import SILENCE_SECONDS

PATIENCE_SECONDS = 120.0
LAGGED = httpx2.ServerSentEvent(event="stream.lagged", data="{}", id="3.4")
SPOKEN = httpx2.ServerSentEvent(event="message.delta", data="{}", id="3.8")


class Viewer:
    """A stream on a clock of the test's own."""

    def __init__(self):
        self.now = 0.0
        self.following = Following("/events", DiscussionCursor(None), PATIENCE_SECONDS, lambda: self.now)

    def watches(self, *frames, for_seconds=0.0, failure=None):
        """One connection and the wait after it."""
        self.following.connected()
        for frame in frames:
            self.following.take(frame)
        self.now += for_seconds
        waited = self.following.seconds_to_wait(failure)
        self.now += waited
        return waited


@pytest.fixture
def viewer():
    return Viewer()


def test_a_viewer_that_lags_again_and_again_waits_longer_and_longer(viewer):
    waits = [viewer.watches(LAGGED) for _ in range(4)]

    assert 0.3 < waits[0] < 0.7
    assert waits[3] > 4 * waits[0] * 0.5
    assert waits == sorted(waits)


def test_what_comes_lets_the_waits_begin_anew(viewer):
    grown = [viewer.watches() for _ in range(5)][-1]

    assert viewer.watches(SPOKEN, LAGGED) < 0.7 < grown


def test_a_quiet_stream_is_not_given_up_however_often_it_ends(viewer):
    waits = [viewer.watches(for_seconds=3600) for _ in range(10)]

    assert max(waits) < 0.7


def test_a_stream_that_heartbeats_kept_alive_is_no_failure_when_it_breaks(viewer):
    broken = httpx2.ReadTimeout("silence")

    for _ in range(10):
        viewer.watches(for_seconds=600 + SILENCE_SECONDS, failure=broken)


def test_a_stream_that_is_silent_from_the_beginning_is_given_up(viewer):
    silent = httpx2.ReadTimeout("silence")

    with pytest.raises(ArenaUnreachable, match="cannot be had again"):
        for _ in range(10):
            viewer.watches(for_seconds=SILENCE_SECONDS, failure=silent)
    assert viewer.now < PATIENCE_SECONDS + 2 * SILENCE_SECONDS


def test_a_server_that_only_says_when_to_come_back_is_given_up(viewer):
    retry = httpx2.ServerSentEvent(retry=1000)

    with pytest.raises(ArenaUnreachable, match="again and again"):
        for _ in range(50):
            viewer.watches(retry)


def test_a_server_that_asks_for_no_wait_is_still_not_hammered(viewer):
    at_once = httpx2.ServerSentEvent(retry=0)

    waits = [viewer.watches(at_once) for _ in range(8)]

    assert waits[0] > SHORTEST_SECONDS / 2
    assert waits[7] > 0.5
