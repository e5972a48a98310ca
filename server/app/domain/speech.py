"""A message as it is spoken: its text, and in it the events of the tools that its speaker calls. Without I/O.

In `Speech.text` each event takes one place, filled by `MARK`, which no text holds. So one number says how much of a
message somebody was shown, tools included, and what was shown is a beginning of `text` whatever it is made of. On its
way through Valkey the event itself stands between two marks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.domain import events

MARK = "\0"
TOOL_FIELDS = ("call_id", "tool", "ok", "duration_ms", "arguments", "summary")
CUT_OFF = "the speaker was cut off"


@dataclass(frozen=True, slots=True)
class ToolEvent:
    """A `tool.started` or `tool.finished`, but for which message it belongs to."""

    type: str
    data: Mapping[str, Any]

    def as_text(self) -> str:
        """As it stands in the text on its way."""
        return f"{MARK}{orjson.dumps((self.type, self.data)).decode()}{MARK}"


@dataclass(frozen=True, slots=True)
class Speech:
    """`text` with a `MARK` in the place of each of the `tools`, which are in its order."""

    text: str = ""
    tools: Sequence[ToolEvent] = field(default_factory=tuple)

    def tools_before(self, place: int) -> int:
        """How many events are before that place."""
        return self.text.count(MARK, 0, place) if self.tools else 0

    def after(self, place: int) -> "Speech":
        """What is left from there on."""
        return Speech(self.text[place:], self.tools[self.tools_before(place) :])

    def joined(self, other: "Speech") -> "Speech":
        return Speech(self.text + other.text, (*self.tools, *other.tools) if other.tools else self.tools)

    @property
    def content(self) -> str:
        """The words alone."""
        return self.text.replace(MARK, "") if self.tools else self.text

    def calls(self) -> list[dict[str, Any]]:
        """What was called, as a message has it; a call that did not end was cut off."""
        calls: dict[str, dict[str, Any]] = {}
        place = 0
        for number, event in enumerate(self.tools):
            place = self.text.index(MARK, place) + 1
            unfinished = {"offset": place - 1 - number, "ok": False, "duration_ms": 0, "summary": CUT_OFF}
            call = calls.setdefault(event.data["call_id"], unfinished)
            call |= {name: event.data[name] for name in TOOL_FIELDS if name in event.data}
        return list(calls.values())


def read_speech(text: str) -> Speech:
    """Of a text as it was on its way; what is cut within an event ends before it."""
    if MARK not in text:
        return Speech(text)
    pieces = text.split(MARK)
    if len(pieces) % 2 == 0:
        pieces = pieces[:-1]
    tools = [ToolEvent(*orjson.loads(piece)) for piece in pieces[1::2]]
    return Speech(MARK.join(pieces[::2]), tools)


def speech_of(content: str, calls: Iterable[Mapping[str, Any]], participant_id: str) -> Speech:
    """Of a message that is whole, the same that viewers were shown of it as it was spoken."""
    pieces, tools, done = [], list[ToolEvent](), 0
    for call in calls:
        pieces += [content[done : call["offset"]], MARK, MARK]
        done = call["offset"]
        who = {"participant_id": participant_id, "call_id": call["call_id"], "tool": call["tool"]}
        tools.append(ToolEvent(events.TOOL_STARTED, {**who, "arguments": call["arguments"]}))
        ended = {name: call[name] for name in ("ok", "duration_ms", "summary")}
        tools.append(ToolEvent(events.TOOL_FINISHED, {**who, **ended}))
    return Speech("".join([*pieces, content[done:]]), tools) if tools else Speech(content)
