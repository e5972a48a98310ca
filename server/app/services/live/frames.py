"""From log entries and growing text to the frames a viewer is sent."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import orjson

from app.domain import events
from app.domain.events import StoredEvent
from app.domain.speech import MARK, Speech, ToolEvent, speech_of
from app.domain.visibility import Reader, withheld
from app.services.live.position import OpenMessage, Position, message_id_of

T = TypeVar("T")


class Frame(NamedTuple):
    """One event for a viewer; `data` is JSON."""

    event_id: str
    event: str
    data: bytes

    def as_sse(self) -> bytes:
        """The frame on the wire (WHATWG HTML, server-sent events)."""
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (self.event_id.encode(), self.event.encode(), self.data)


class Batch:
    """What a viewer is given at once; without frames it is a sign of life.

    `encoded` keeps what an encoder makes of it, so that a thousand viewers cost one encoding.
    """

    __slots__ = ("_encoded", "frames")

    def __init__(self, frames: Sequence[Frame] = ()) -> None:
        self.frames = frames
        self._encoded: dict[Callable[[Sequence[Frame]], Any], Any] = {}

    def encoded(self, encode: Callable[[Sequence[Frame]], T]) -> T:
        """What `encode` makes of the frames; it must be the same function every time, and always give the same."""
        made: T | None = self._encoded.get(encode)
        if made is None:
            made = self._encoded[encode] = encode(self.frames)
        return made


class Step(Batch):
    """The same for all who stand where it begins, and where they stand then."""

    __slots__ = ("seq", "shown", "speaking")

    def __init__(self, frames: Sequence[Frame], after: Position) -> None:
        super().__init__(frames)
        self.seq = after.seq
        self.shown = after.shown
        self.speaking = after.speaking

    def move(self, position: Position) -> None:
        """Put a position that stood where this step begins to where it ends."""
        position.seq, position.shown, position.speaking = self.seq, self.shown, self.speaking


class LogEntry:
    """A stored event with what following it needs, parsed once for all viewers."""

    def __init__(self, event: StoredEvent) -> None:
        self.seq = event.seq
        self.type = event.type
        self.payload = event.payload
        self.visible_to = None if event.visible_to is None else frozenset(map(UUID, event.visible_to))
        self._event = event

    @property
    def is_for_all_alike(self) -> bool:
        """Whether every viewer is shown the same of it, and none becomes another reader by it."""
        return self.visible_to is None and self.type != events.PARTICIPANT_JOINED

    @cached_property
    def withheld(self) -> "LogEntry":
        """What stands in the place of a whisper for those it is not for."""
        return LogEntry(withheld(self._event))

    def seats(self, reader: Reader) -> UUID | None:
        """The seat that the reader takes with this event."""
        if self.type != events.PARTICIPANT_JOINED or reader.user_id is None:
            return None
        seat = self.data["participant"]
        return UUID(seat["id"]) if seat["user_id"] == str(reader.user_id) else None

    @cached_property
    def data(self) -> dict[str, Any]:
        parsed: dict[str, Any] = orjson.loads(self.payload)
        return parsed

    @cached_property
    def opens(self) -> OpenMessage | None:
        """The message that begins (again) with this event."""
        if self.type not in events.TURN_OPENERS:
            return None
        return OpenMessage(message_id_of(self.data["message_id"]), self.data["turn"], self.data["attempt"])

    @cached_property
    def completes(self) -> UUID | None:
        return message_id_of(self.data["id"]) if self.type == events.MESSAGE_COMPLETED else None

    @cached_property
    def speech(self) -> Speech:
        """Of the message that it completes."""
        content, tools = self.data["content"], self.data.get("tools")
        return speech_of(content, tools, self.data["participant_id"]) if tools else Speech(content)

    def closes(self, speaking: OpenMessage) -> bool:
        """Whether `speaking` is over with this event."""
        return self.type in events.TURN_CLOSERS or self.completes == speaking.message_id


def spoken(position: Position, speaking: OpenMessage, speech: Speech, most: int | None = None) -> Iterator[Frame]:
    """Show what follows of the message being spoken, at most so many places of it, and move the position past it."""
    if not speech.tools:
        end = None if most is None else position.shown + most
        yield _delta(position, speaking, position.shown, speech.text[position.shown : end])
        return
    done = speech.tools_before(position.shown)
    end = len(speech.text) if most is None else min(position.shown + most, len(speech.text))
    while position.shown < end:
        mark = speech.text.find(MARK, position.shown, end)
        if mark == position.shown:
            yield _tool(position, speaking, speech.tools[done])
            done += 1
        else:
            text = speech.text[position.shown : end if mark < 0 else mark]
            yield _delta(position, speaking, position.shown - done, text)


def _delta(position: Position, speaking: OpenMessage, offset: int, text: str) -> Frame:
    position.shown += len(text)
    data = {
        "message_id": speaking.message_id,
        "turn": speaking.turn,
        "attempt": speaking.attempt,
        "offset": offset,
        "text": text,
    }
    return Frame(position.event_id, events.MESSAGE_DELTA, orjson.dumps(data))


def _tool(position: Position, speaking: OpenMessage, event: ToolEvent) -> Frame:
    position.shown += 1
    where = {"message_id": speaking.message_id, "turn": speaking.turn, "attempt": speaking.attempt}
    return Frame(position.event_id, event.type, orjson.dumps({**where, **event.data}))


def reset(position: Position, snapshot: Mapping[str, Any]) -> Frame:
    """Take back what the viewer was shown of the open message, and tell it how the discussion stood there."""
    data = {"last_seq": position.seq, "reason": position.contradiction, "snapshot": snapshot}
    position.shown, position.contradiction = 0, None
    return Frame(position.event_id, events.STREAM_RESET, orjson.dumps(data))


def lagged(position: Position, reason: str) -> Frame:
    """Tell the viewer that its stream ends because it took nothing; it may come back from where it is."""
    data = {"last_seq": position.seq, "reason": reason}
    return Frame(position.event_id, events.STREAM_LAGGED, orjson.dumps(data))


def contradicts(position: Position, entry: LogEntry) -> bool:
    """Whether the event says that the open message has less text than the viewer was shown; noted at the position."""
    speaking = position.speaking
    if speaking is None or not position.shown:
        return False
    if entry.type == events.DISCUSSION_ENDED:
        position.contradiction = "the discussion ended without the message that was being spoken"
        return True
    if entry.completes != speaking.message_id:
        return False
    if not position.reader.may_read(entry.visible_to) or position.shown <= len(entry.speech.text):
        return False
    position.contradiction = "the message was completed with other text than was shown"
    return True


def advance(position: Position, entry: LogEntry) -> Iterator[Frame]:
    """Show a durable event, before it what is left of the message it completes, and move the position past it.

    A whisper opens and closes what it does for all, but is shown to those it is for. Whoever sits down meanwhile can
    read what is said to the new seat from then on. An event that `contradicts` the position is not for this.
    """
    speaking = position.speaking
    shown = entry if position.reader.may_read(entry.visible_to) else entry.withheld
    if speaking is not None and shown.completes == speaking.message_id:
        yield from _rest(position, speaking, shown)
    if entry.opens is not None:
        position.speaking, position.shown = entry.opens, 0
    elif speaking is not None and entry.closes(speaking):
        position.speaking, position.shown = None, 0
    position.seq = entry.seq
    seat_id = entry.seats(position.reader)
    if seat_id is not None:
        position.reader = position.reader.seated(seat_id)
    yield Frame(position.event_id, shown.type, shown.payload)


def _rest(position: Position, speaking: OpenMessage, entry: LogEntry) -> Iterator[Frame]:
    is_live = entry.seq > position.live_from or position.shown
    if is_live and position.shown < len(entry.speech.text):
        yield from spoken(position, speaking, entry.speech)
