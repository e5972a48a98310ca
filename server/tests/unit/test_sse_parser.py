"""Reading a provider's stream: however the bytes are cut, the text is the same."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.providers.base import Finished, ModelDisconnected, ModelMalformed, ModelRateLimited
from app.services.providers.openai_reply import ReplyReader
from app.services.providers.sse import OversizedEventError, SseParser
from bench.fake_behaviour import behaviour_of, reply_text, reply_tokens
from bench.fake_wire import Chunks

FORMS = ["", "crlf", "cr", "no_space", "comments", "comments&crlf", "ascii", "nul", "surrogates", "crlf&surrogates"]


def recorded(name: str) -> bytes:
    chunks = Chunks(name, behaviour_of(name))
    tokens = [chunks.token(token) for token in reply_tokens(name)]
    return b"".join([chunks.role(), *tokens, chunks.finish("stop"), chunks.usage(7, len(tokens)), chunks.done()])


def delta(content: str, rest: str = "") -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":%b}%b}]}\n\n' % (content.encode(), rest.encode())


def read(pieces: list[bytes]) -> tuple[str, Finished]:
    reader = ReplyReader("host")
    text = "".join(reader.feed(piece) for piece in pieces)
    if reader.failure:
        raise reader.failure
    return text if reader.done else text + reader.finish(), reader.result()


def cut(data: bytes, ends: set[int]) -> list[bytes]:
    marks = [0, *sorted(end for end in ends if end < len(data)), len(data)]
    return [data[start:end] for start, end in pairwise(marks)]


@given(form=st.sampled_from(FORMS), ends=st.sets(st.integers(1, 4000), max_size=60))
def test_any_cut_gives_the_same_text(form, ends):
    name = f"fake?tokens=8&unicode&{form}"

    text, end = read(cut(recorded(name), ends))

    assert text == reply_text(name)
    assert end == Finished("stop", 7, 8)


@pytest.mark.parametrize("form", FORMS)
def test_byte_by_byte_gives_the_same_text(form):
    name = f"fake?tokens=8&unicode&{form}"
    data = recorded(name)

    assert read([data[at : at + 1] for at in range(len(data))])[0] == reply_text(name)


@given(
    lines=st.lists(st.sampled_from(["data: a", "data:b", "data:", "data", ": c", "event: d", "id: 1", "", ""])),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cuts=st.sets(st.integers(1, 120)),
)
def test_events_follow_the_standard_whatever_the_line_end(lines, end, cuts):
    lines = [*lines, "", "data: last", "", ""]
    data = b"".join(line.encode() + end for line in lines)

    assert events_of(cut(data, cuts)) == _events_by_the_book(lines)
    assert events_of(cut(data, set(range(1, len(data))))) == _events_by_the_book(lines)


def events_of(pieces: list[bytes]) -> list[bytes]:
    parser = SseParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def _events_by_the_book(lines: list[str]) -> list[bytes]:
    """The standard's algorithm, line by line; a bare `data` is not sent by anyone and left out by the parser."""
    events, data = [], []
    for line in lines:
        if not line and data:
            events.append("\n".join(data).encode())
            data = []
        elif line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
    return events


def test_data_over_several_lines_is_joined():
    assert SseParser().feed(b"data: one\ndata:two\ndata:  three\n\n") == [b"one\ntwo\n three"]


def test_a_byte_order_mark_is_not_part_of_the_first_line():
    parser = SseParser()

    assert parser.feed(b"\xef\xbb") == []
    assert parser.feed(b"\xbfdata: x\n\n") == [b"x"]


def test_the_end_of_the_stream_completes_a_last_event_but_not_a_broken_line():
    whole, broken, done = SseParser(), SseParser(), SseParser()
    whole.feed(b"data: x\n")
    broken.feed(b"data: x\n\ndata: y")
    done.feed(b"data: x\n\ndata: [DONE]")

    assert (whole.finish(), broken.finish(), done.finish()) == ([b"x"], [], [b"[DONE]"])


@pytest.mark.parametrize("pieces", [[b"data: " + b"x" * 40 + b"\n\n"], [b"x" * 20] * 2, [b"data: xxxxxxxx\n"] * 6])
def test_an_event_over_the_bound_is_refused(pieces):
    parser = SseParser(max_line_bytes=32)

    with pytest.raises(OversizedEventError):
        for piece in pieces:
            parser.feed(piece)


def test_a_long_line_in_small_pieces_costs_no_more_than_its_length():
    parser = SseParser()

    for _ in range(200_000):
        parser.feed(b"12345")
    assert parser.feed(b"\n\n") == []


def test_halves_of_a_surrogate_pair_in_two_chunks_are_one_character():
    pieces = [delta(r'"fox \ud83e"'), delta(r'"\udd8a!"'), delta('""', ',"finish_reason":"stop"')]

    assert read(pieces)[0] == "fox 🦊!"
    assert read([b"".join(pieces)])[0] == "fox 🦊!"


@pytest.mark.parametrize("content", [r'"\ud83e"', r'"\udd8a"', r'"\udd8a\ud83e"'])
def test_lone_surrogates_are_replaced(content):
    text, _ = read([delta(content), b"data: [DONE]\n\n"])

    assert set(text) == {"\ufffd"}


def test_a_half_pair_at_the_very_end_is_replaced():
    assert read([delta(r'"a\ud83e"', ',"finish_reason":"stop"')])[0] == "a\ufffd"


def test_invalid_utf8_is_replaced():
    data = delta('"a?b"', ',"finish_reason":"stop"').replace(b"?", b"\xff")

    assert read([data])[0] == "a\ufffdb"


SILENT_CHUNKS = """
{"choices":[]}
{"choices":null}
{}
{"choices":[{"delta":null}]}
{"choices":[{"index":0}]}
{"choices":[{"delta":{"content":null}}]}
{"choices":[{"delta":{"role":"assistant"}}]}
{"usage":null}
{"choices":[],"usage":{"prompt_tokens":null}}
{"choices":[],"usage":{"prompt_tokens":-1}}
"""

STRANGE_CHUNKS = """
[]
"x"
7
null
{
{"choices":7}
{"choices":[7]}
{"choices":{"a":1}}
{"choices":[{"delta":{"content":7}}]}
{"choices":[{"delta":"x"}]}
{"choices":[],"usage":[1]}
{"choices":[{"delta":{"content":[{"type":"text","text":7}]}}]}
"""


@pytest.mark.parametrize("body", SILENT_CHUNKS.split())
def test_chunks_without_text_say_nothing(body):
    text, end = read([f"data: {body}\n\n".encode(), b"data: [DONE]\n\n"])

    assert (text, end) == ("", Finished("stop", None, None))


def test_parts_of_content_are_joined():
    body = delta('[{"type":"thinking","thinking":[]},{"type":"text","text":"yes"}]', ',"finish_reason":"stop"')

    assert read([body])[0] == "yes"


@pytest.mark.parametrize("body", [*STRANGE_CHUNKS.split(), pytest.param("[" * 100_000, id="deep")])
def test_chunks_of_another_shape_are_malformed_and_the_text_before_is_kept(body):
    reader = ReplyReader("host")

    text = reader.feed(delta('"before"') + f"data: {body}\n\n".encode() + delta('"after"'))

    assert text == "before"
    assert type(reader.failure) is ModelMalformed


def test_an_error_in_the_stream_is_read_for_its_status_and_never_tells_the_key():
    reader = ReplyReader("host", secret="sk-123")

    reader.feed(b'data: {"error":{"message":"slow down, sk-123","code":"429"},"choices":[]}\n\n')

    assert type(reader.failure) is ModelRateLimited
    assert reader.failure.detail == "host answered 429: slow down, [key]"


def test_a_reply_that_stops_is_not_taken_for_whole():
    with pytest.raises(ModelDisconnected):
        read([delta('"half"')])


def test_a_model_that_only_thinks_has_begun_and_a_role_alone_has_not():
    reader = ReplyReader("host")

    reader.feed(b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n')
    assert not reader.begun
    reader.feed(b'data: {"choices":[{"delta":{"reasoning_content":"hm"}}]}\n\n')
    assert reader.begun
