"""From a discussion's events to what a person watching it should be shown."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from arena_client import Discussion, StreamEvent

FALLBACK_COLORS = ("#3b82f6", "#ef4444", "#10b981", "#f59e0b", "#8b5cf6", "#06b6d4", "#ec4899")
PASSES = "(has nothing to say)"
_CONTROLS = {*range(0x20), *range(0x7F, 0xA0)} - {ord("\n"), ord("\t")}
_DIRECTIONS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
_HARMLESS = dict.fromkeys(_CONTROLS | _DIRECTIONS, "\ufffd")


@dataclass(frozen=True, slots=True)
class Seat:
    """Who speaks, and in which colour."""

    name: str
    handle: str
    color: str


@dataclass(frozen=True, slots=True)
class Said:
    """A finished message; `tokens` and `seconds` are 0 where they are not known."""

    text: str
    tokens: int = 0
    seconds: float = 0.0

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds if self.seconds > 0 else 0.0


class View(Protocol):
    """What a terminal shows; the calls come in the order of the discussion."""

    def turn_begins(self, seat: Seat, turn: int) -> None: ...

    def text(self, piece: str) -> None: ...

    def turn_begins_again(self, seat: Seat, turn: int, reason: str) -> None: ...

    def turn_ends(self, seat: Seat, turn: int, said: Said) -> None: ...

    def aside(self, seat: Seat, text: str) -> None: ...

    def failed(self, detail: str) -> None: ...


@dataclass(slots=True)
class Tally:
    """The whole discussion in figures."""

    turns: int = 0
    tokens: int = 0
    seconds: float = 0.0
    first_text_at: float | None = None
    end_reason: str | None = None
    failure: str | None = None

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds if self.seconds > 0 else 0.0


class Follower:
    """Tells a view what happens, each word once, whatever the connection goes through."""

    def __init__(self, discussion: Discussion, colors: Mapping[str, str | None], view: View) -> None:
        self.tally = Tally()
        self._view = view
        self._seats: dict[str, Seat] = {}
        self._colors = colors
        self._seat_all(discussion)
        self._turn = 0
        self._speaker: Seat | None = None
        self._shown = ""
        self._text_since: float | None = None

    def follow(self, events: Iterable[StreamEvent]) -> Tally:
        for event in events:
            self.tell(event)
        return self.tally

    def tell(self, event: StreamEvent) -> None:
        """Show what there is to show; what is only about the stream (`stream.lagged`) the client sees to."""
        data = event.data
        match event.event:
            case "participant.joined":
                joined = data["participant"]
                self._seat(joined["id"], joined["name"], joined["handle"])
            case "turn.started":
                self._begin(data["participant_id"], data["turn"])
            case "turn.retried":
                self._begin(data["participant_id"], data["turn"], again=data["reason"])
            case "message.delta":
                self._delta(data["offset"], printable(data["text"]))
            case "message.completed":
                self._complete(data)
            case "turn.passed":
                self._pass(data["turn"])
            case "turn.failed":
                self.tally.failure = printable(data["detail"])
                self._view.failed(self.tally.failure)
            case "discussion.ended":
                self.tally.end_reason = data["end_reason"]
            case "stream.reset" if event.snapshot is not None:
                self._seat_all(event.snapshot)

    def _seat_all(self, discussion: Discussion) -> None:
        for participant in discussion.participants:
            self._seat(participant.id, participant.name, participant.handle)

    def _seat(self, participant_id: str, name: str, handle: str) -> Seat:
        number = len(self._seats)
        color = self._colors.get(handle) or FALLBACK_COLORS[number % len(FALLBACK_COLORS)]
        return self._seats.setdefault(participant_id, Seat(printable(name), handle, color))

    def _begin(self, participant_id: str, turn: int, again: str | None = None) -> None:
        seat = self._seats[participant_id]
        self._turn, self._speaker, self._shown, self._text_since = turn, seat, "", None
        if again is None:
            self._view.turn_begins(seat, turn)
        else:
            self._view.turn_begins_again(seat, turn, again)

    def _delta(self, offset: int, text: str) -> None:
        """Show what is new; a stream that was reset tells the message from its beginning."""
        now = time.monotonic()
        self._text_since = self._text_since or now
        self.tally.first_text_at = self.tally.first_text_at or now
        self._show(text[max(0, len(self._shown) - offset) :])

    def _show(self, piece: str) -> None:
        if piece:
            self._shown += piece
            self._view.text(piece)

    def _complete(self, message: Mapping[str, Any]) -> None:
        content = printable(message["content"])
        if message["turn"] is None or self._speaker is None:
            seat = self._seat(message["participant_id"], message["name"], message["handle"])
            self._view.aside(seat, content)
            return
        self._show(content[len(self._shown) :])
        usage = message.get("usage") or {}
        seconds = time.monotonic() - self._text_since if self._text_since else 0.0
        said = Said(content, usage.get("completion_tokens", 0), seconds)
        self.tally.turns = self._turn
        if seconds:
            self.tally.tokens += said.tokens
            self.tally.seconds += said.seconds
        self._view.turn_ends(self._speaker, self._turn, said)
        self._speaker = None

    def _pass(self, turn: int) -> None:
        self.tally.turns = turn
        if self._speaker is not None:
            self._view.turn_ends(self._speaker, turn, Said(PASSES))
        self._speaker = None


def printable(text: str) -> str:
    """`text`, as long as before, without what a terminal obeys: a model's words must not move its cursor."""
    return text.translate(_HARMLESS)
