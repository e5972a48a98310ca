"""What the benchmark of live streams measures with: stamps in tokens, however the network cuts them, and windows."""

import asyncio
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.prompt import ChatMessage
from app.services.providers.base import ChatRequest, TextDelta
from app.services.providers.openai_compatible import OpenAICompatibleModel
from bench import stamps
from bench.fake_model import FakeModelServer
from bench.fake_stamps import Metronome, StampedReply
from bench.listener import Listener
from bench.runs import percentile

pytestmark = pytest.mark.anyio

STREAM = b"HTTP/1.1 200 OK\r\n\r\n" + b"".join(
    b'5\r\nid: 4.%d\nevent: message.delta\ndata: {"offset":0,"text":" @%012d @%012d"}\n\n\r\n'
    % (place, place, place + 1)
    for place in range(1_000, 1_020, 2)
)
STAMPS = range(1_000, 1_020)


def cut(data, ends):
    marks = sorted({0, *(end for end in ends if end < len(data)), len(data)})
    return [data[start:end] for start, end in pairwise(marks)]


@given(ends=st.sets(st.integers(1, len(STREAM) - 1), max_size=40))
def test_every_stamp_is_found_once_however_the_reads_are_cut(ends):
    reads = [(0.002, piece) for piece in cut(STREAM, ends)]

    delays = list(stamps.delays_ms(reads))

    assert delays == [(2_000 - stamp) / 1000 for stamp in STAMPS]


def test_a_stamp_has_the_time_of_the_read_that_completed_it():
    reads = [(1.0, b'"text":" @0000009'), (1.5, b"00000 ab")]

    assert list(stamps.delays_ms(reads)) == [600.0]


def test_a_stamp_from_before_the_clock_began_anew_is_not_older_than_it_is():
    written = stamps.WRAP - 500

    assert list(stamps.delays_ms([((stamps.WRAP + 500) / 1e6, b"@%012d" % written)])) == [1.0]


def test_text_that_was_cut_within_a_stamp_still_joins_to_the_message():
    stream = b'{"text":" @0000"} {"text":"00001000"} {"status":"complete","content":" @000000001000"}'

    assert stamps.shown_and_kept(stream) == (b" @000000001000", b" @000000001000")


def test_a_lost_delta_is_a_difference_between_what_was_shown_and_what_is_kept():
    stream = b'{"text":" @000000001000"} {"content":" @000000001000 @000000002000"}'

    shown, kept = stamps.shown_and_kept(stream)

    assert shown != kept


@pytest.mark.parametrize(("share", "expected"), [(0, 1), (0.5, 51), (0.99, 100), (1, 100)])
def test_a_percentile_is_a_value_that_was_measured(share, expected):
    assert percentile(range(100, 0, -1), share) == expected


async def test_frames_are_counted_within_the_window_only_and_before_its_end():
    listener = Listener(b"")
    for at in (1.0, 2.0, 2.5, 3.0):
        listener.take(at, b"a\n\nb\n\n")

    assert listener.frames_between(2.0, 3.0) == (4, 12)


@pytest.fixture
async def fake():
    async with FakeModelServer() as server:
        yield server


@pytest.fixture
async def model(fake):
    client = OpenAICompatibleModel(fake.base_url)
    yield client
    await client.close()


async def reply(model, name, max_tokens=200):
    items = [item async for item in model.stream(ChatRequest(name, [ChatMessage("user", "Who?")], max_tokens))]
    return "".join(item.text for item in items if isinstance(item, TextDelta)), items[-1]


async def test_a_stamped_reply_is_the_moments_at_which_its_tokens_were_written(model):
    before = stamps.now()
    text, end = await reply(model, "fake?stamped&tokens=5&delay_ms=2")
    after = stamps.now()

    written = [int(stamp) for stamp in re.findall(r" @(\d{12})", text)]
    assert text == "".join(f" @{stamp:012d}" for stamp in written)
    assert [before, *written, after] == sorted([before, *written, after])
    assert (end.finish_reason, end.completion_tokens) == ("stop", 5)


async def test_a_stamped_reply_keeps_to_max_tokens(model):
    text, end = await reply(model, "fake?stamped&tokens=50&delay_ms=1", max_tokens=3)

    assert text.count("@") == 3
    assert end.finish_reason == "length"


async def test_an_endless_stamped_reply_ends_when_it_is_told_to_finish(fake, model):
    speaking = asyncio.create_task(reply(model, "fake?stamped&endless&delay_ms=1"))
    await asyncio.sleep(0.05)
    assert not speaking.done()

    fake.answer(b"POST /finish HTTP/1.1", b"")

    text, end = await asyncio.wait_for(speaking, 2)
    assert text.count("@") > 5
    assert end.finish_reason == "stop"


async def test_held_replies_say_nothing_before_they_may_go(fake, model):
    fake.answer(b"POST /hold HTTP/1.1", b"")
    speaking = asyncio.create_task(reply(model, "fake?stamped&tokens=2&delay_ms=1"))
    await asyncio.sleep(0.05)
    held_until = stamps.now()
    assert not speaking.done()

    fake.answer(b"POST /go HTTP/1.1", b"")

    text, _ = await asyncio.wait_for(speaking, 2)
    assert int(text.split("@")[1]) >= held_until


class Client:
    """Takes the tokens of a reply."""

    is_gone = False
    is_full = False

    def __init__(self):
        self.written = []

    def write(self, data):
        self.written.append(data)

    def end_reply(self):
        self.is_gone = True


def reply_to(client, most):
    made = StampedReply(b"", lambda stamp: b"%d" % stamp, lambda said: b"end", most)
    made.begin(client)
    return made


async def test_streams_of_one_pace_are_spread_over_its_period():
    metronome = Metronome(0.02)
    clients = [Client() for _ in range(20)]
    for client in clients:
        metronome.add(reply_to(client, 1))

    metronome.go()
    await asyncio.sleep(0.1)

    firsts = {client.written[1] for client in clients}
    assert len(firsts) >= 8  # two in each of ten slots; slots that come late may come at one moment
    assert all(client.written[-1] == b"end" for client in clients)
    assert metronome.beats == 20


async def test_a_client_that_reads_slowly_is_not_written_to_and_is_not_counted():
    metronome = Metronome(0.002)
    slow, fast = Client(), Client()
    slow.is_full = True
    for client in (slow, fast):
        metronome.add(reply_to(client, 3))

    metronome.go()
    await asyncio.sleep(0.05)
    metronome.stop()

    assert slow.written == [b""]
    assert fast.written[-1] == b"end"
    assert metronome.beats == 3
