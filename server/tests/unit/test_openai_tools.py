"""Tool calls as servers send them, each in its own way."""

import json

import pytest

from app.domain.prompt import ChatMessage, ToolCall
from app.services.providers.base import ModelMalformed
from app.services.providers.openai_tools import (
    MAX_CALLS_CHARACTERS,
    MOST_TOOL_CALLS,
    CallingReplyReader,
    message_as_sent,
)


def chunk(*pieces: dict, reason: str | None = None, content: str | None = None) -> bytes:
    delta = {"content": content, "tool_calls": list(pieces)}
    return b"data: %b\n\n" % json.dumps({"choices": [{"delta": delta, "finish_reason": reason}]}).encode()


def piece(arguments: object = None, name: str | None = None, index: int | None = None, id: str | None = None) -> dict:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    given = (("index", index), ("id", id), ("function", function))
    return {key: value for key, value in given if value not in (None, {})}


def read(*chunks: bytes, reason: str = "tool_calls") -> list[ToolCall]:
    reader = CallingReplyReader("fake")
    for one in (*chunks, chunk(reason=reason), b"data: [DONE]\n\n"):
        reader.feed(one)
        if reader.failure:
            raise reader.failure
    return list(reader.result().tool_calls)


WAYS = {
    "in pieces, one after another": [
        chunk(piece("", "add", 0, "a")),
        chunk(piece('{"x":', index=0)),
        chunk(piece("1}", index=0)),
        chunk(piece('{"x":', "sub", 1, "b")),
        chunk(piece("2}", index=1)),
    ],
    "in pieces that take turns": [
        chunk(piece('{"x"', "add", 0, "a"), piece('{"x"', "sub", 1, "b")),
        chunk(piece(":1}", index=0), piece(":2}", index=1)),
    ],
    "whole, all under one index": [chunk(piece('{"x":1}', "add", 0, "a")), chunk(piece('{"x":2}', "sub", 0, "b"))],
    "whole, without an index": [chunk(piece('{"x":1}', "add", id="a"), piece('{"x":2}', "sub", id="b"))],
    "as objects": [chunk(piece({"x": 1}, "add", 0, "a"), piece({"x": 2}, "sub", 1, "b"))],
    "in pieces that repeat their id and name": [
        chunk(piece('{"x":', "add", 0, "a")),
        chunk(piece("1}", "add", 0, "a")),
        chunk(piece('{"x":', "sub", 1, "b")),
        chunk(piece("2}", "sub", 1, "b")),
    ],
    "in pieces that repeat their id, without an index": [
        chunk(piece('{"x":', "add", id="a")),
        chunk(piece("1}", "add", id="a")),
        chunk(piece('{"x":2}', "sub", id="b")),
    ],
}


@pytest.mark.parametrize("chunks", WAYS.values(), ids=WAYS)
def test_calls_are_the_same_however_a_server_sends_them(chunks):
    calls = read(*chunks)

    assert [(call.id, call.name, json.loads(call.arguments)) for call in calls] == [
        ("a", "add", {"x": 1}),
        ("b", "sub", {"x": 2}),
    ]


@pytest.mark.parametrize("index", [None, 0])
def test_two_calls_without_ids_are_given_some(index):
    calls = read(chunk(piece("{}", "add", index)), chunk(piece("{}", "sub", index)))

    assert [call.name for call in calls] == ["add", "sub"]
    assert len({call.id for call in calls if call.id}) == 2


def test_the_same_tool_called_twice_without_index_and_id_is_called_twice():
    assert [call.name for call in read(chunk(piece("{}", "add")), chunk(piece("{}", "add")))] == ["add", "add"]


def test_no_arguments_are_an_empty_object():
    assert read(chunk(piece(None, "now", 0, "a"))) == [ToolCall("a", "now", "{}")]


def test_arguments_that_are_no_json_are_handed_on_as_written():
    assert read(chunk(piece('{"x":', "add", 0, "a")))[0].arguments == '{"x":'


def test_what_cannot_be_stored_is_mended_also_across_pieces():
    calls = read(chunk(piece("\ud83d", "ad\0d", 0, "a")), chunk(piece("\ude00\ud83d\0", index=0)))

    assert calls == [ToolCall("a", "add", "\U0001f600\ufffd")]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_reply_that_was_cut_short_asks_for_nothing(reason):
    assert read(chunk(piece('{"x":', "add", 0, "a")), reason=reason) == []


def test_the_end_says_that_tools_are_wanted_whatever_the_server_says():
    reader = CallingReplyReader("fake")
    reader.feed(chunk(piece("{}", "add", 0, "a"), reason="stop"))
    assert reader.result().finish_reason == "tool_calls"

    reader = CallingReplyReader("fake")
    reader.feed(chunk(reason="tool_calls"))
    assert reader.result().finish_reason == "stop"


@pytest.mark.parametrize(
    "pieces",
    [
        [piece("{}", index=0, id="a")],
        [piece("{}", "add", "0")],
        [piece("{}", 7, 0)],
        [piece(["x"], "add", 0) | {"id": {}}],
        ["add"],
        [{"function": "add"}],
        [piece("{}", f"t{number}", number) for number in range(MOST_TOOL_CALLS + 1)],
        [piece("x" * (MAX_CALLS_CHARACTERS // 2), "add", 0)] * 3,
        [piece("x" * (MAX_CALLS_CHARACTERS // 2), f"t{number}", number) for number in range(3)],
    ],
    ids=["nameless", "index", "name", "id", "no object", "no function", "many", "long", "long together"],
)
def test_what_is_no_call_or_beyond_the_bounds_is_malformed(pieces):
    with pytest.raises(ModelMalformed):
        read(*(chunk(one) for one in pieces))


def test_a_message_has_the_fields_of_its_role_alone():
    call = ToolCall("a", "add", '{"x":1}')
    as_sent = {"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"x":1}'}}

    assert message_as_sent(ChatMessage("user", "Go?")) == {"role": "user", "content": "Go?"}
    assert message_as_sent(ChatMessage("assistant", "Well,")) == {"role": "assistant", "content": "Well,"}
    assert message_as_sent(ChatMessage("tool", "2", tool_call_id="a")) == {
        "role": "tool",
        "tool_call_id": "a",
        "content": "2",
    }
    assert message_as_sent(ChatMessage("assistant", "", tool_calls=[call])) == {
        "role": "assistant",
        "content": None,
        "tool_calls": [as_sent],
    }
