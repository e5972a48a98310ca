"""Requests as recordings know them."""

from pathlib import Path

import orjson

from app.domain.prompt import ChatMessage, ToolCall
from app.services.providers.base import ChatRequest, ToolSpec
from app.services.providers.exchange import key_of, request_fields

RECORDINGS = Path(__file__).parents[3] / "examples" / "recordings"


def test_a_request_without_tools_is_what_it_was_before_there_were_any():
    recorded = [
        orjson.loads(line)["request"] for path in RECORDINGS.glob("*.jsonl") for line in path.read_bytes().splitlines()
    ]
    assert recorded

    for fields in recorded:
        messages = [ChatMessage(**message) for message in fields["messages"]]
        asked = ChatRequest("replay", messages, **{name: fields[name] for name in fields.keys() - {"messages"}})
        assert key_of(request_fields(asked)) == key_of(fields)


def test_tools_and_their_results_are_part_of_the_request():
    call = ToolCall("a", "add", "{}")
    said = [ChatMessage("user", "Go?"), ChatMessage("assistant", "", (call,)), ChatMessage("tool", "2", (), "a")]
    bare = ChatRequest("fake", said[:1])
    asked = [
        bare,
        ChatRequest("fake", said[:1], tools=[ToolSpec("add", "Adds.", {"type": "object"})]),
        ChatRequest("fake", said[:2]),
        ChatRequest("fake", said),
        ChatRequest("fake", said, may_call_tools=False),
    ]

    assert len({key_of(request_fields(one)) for one in asked}) == len(asked)
    assert request_fields(ChatRequest("fake", said[:1], tools=[])) == request_fields(bare)
