"""The port of a turn policy: `(roster, history, rng) → speaker and reason`, without I/O."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, Protocol
from uuid import UUID

from app.domain.prompt import ChatMessage


@dataclass(frozen=True, slots=True)
class Seat:
    """A participant in the speaking order; `joined_turn` is the turn count when it sat down."""

    participant_id: UUID
    kind: Literal["llm", "external", "human"]
    handle: str
    name: str
    role: str = "speaker"
    agent_id: UUID | None = None
    joined_turn: int = 0

    @property
    def needs_waiting(self) -> bool:
        """Whether its turns come from outside."""
        return self.kind != "llm"


@dataclass(frozen=True, slots=True)
class TurnNote:
    """Who took a turn, and how it went; a stand-in's turn is its principal's."""

    turn: int
    participant_id: UUID
    outcome: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """A public message; `turn` is None for what was said outside the speaking order."""

    participant_id: UUID
    turn: int | None
    content: str


@dataclass(frozen=True, slots=True)
class History:
    """What a policy may know of the past.

    `turns` are the latest finished turns, newest first, at least twice the roster's size where there were so many.
    `recent` are the latest public messages, newest first. `state` is what the policy's last choice left. `answers`
    are the parsed answers to the policy's questions, None where a participant gave none that can be used.
    """

    turn: int
    last_speaker: UUID | None
    turns: Sequence[TurnNote] = ()
    recent: Sequence[Spoken] = ()
    state: Mapping[str, Any] | None = None
    answers: Mapping[UUID, Any] = field(default_factory=dict)

    def waited(self, seat: Seat) -> int:
        """Turns since the seat last had the floor, or sat down."""
        last = next((note.turn for note in self.turns if note.participant_id == seat.participant_id), 0)
        return self.turn - max(last, seat.joined_turn)


@dataclass(frozen=True, slots=True)
class Question:
    """What a policy asks a participant's model before it can choose; `parse` gives None for an unusable answer.

    `prompt`, where there is one, makes the whole prompt within a budget of tokens, in place of the participant's view
    of the discussion with `text` at its end.
    """

    participant_id: UUID
    text: str
    parse: Callable[[str], Any]
    schema: Mapping[str, Any] | None = None
    max_tokens: int = 60
    prompt: Callable[[int], Sequence[ChatMessage]] | None = None


@dataclass(frozen=True, slots=True)
class Brief:
    """What the policy tells the speaker of a turn, and what it keeps from it.

    Messages of turns after `blind_since` are not shown to others' speakers; with `is_anonymous` others are shown
    under letters instead of their names.
    """

    instruction: str | None = None
    blind_since: int | None = None
    is_anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """Who has the floor next and the reason that goes into the log.

    `participant_id` None: a human has to choose. `state` replaces the policy's state.
    """

    participant_id: UUID | None
    reason: str
    state: Mapping[str, Any] | None = None


class TurnPolicy(Protocol):
    """Made of its configuration (`turn_policy` of the discussion); chooses from a roster that is never empty.

    The roster is in seating order. Nothing but the arguments may decide: the same seed, roster and history choose the
    same speaker. Besides, a policy may have a static method `check(config, roster)` that raises if the configuration
    does not suit the seats.
    """

    def candidates(self, roster: Sequence[Seat]) -> Sequence[Seat]:
        """Who of the roster takes turns: whoever of them has waited too long is given the floor."""
        ...

    def next_speaker(self, roster: Sequence[Seat], history: History, rng: Random) -> Choice | None:
        """The next speaker; None when the policy has nothing more to give and the discussion is over."""
        ...

    def questions(self, roster: Sequence[Seat], history: History) -> Sequence[Question]:
        """What must be asked before choosing; empty for policies that decide by themselves."""
        ...

    def brief(self, seat: Seat, state: Mapping[str, Any] | None) -> Brief:
        """What the chosen speaker is told."""
        ...


class SelfDeciding:
    """A base for policies that let everybody speak, ask nobody and tell the speaker nothing."""

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.config = config or {}

    def candidates(self, roster: Sequence[Seat]) -> Sequence[Seat]:
        return roster

    def questions(self, roster: Sequence[Seat], history: History) -> Sequence[Question]:
        return ()

    def brief(self, seat: Seat, state: Mapping[str, Any] | None) -> Brief:
        return Brief()


def longest_waiting(seats: Sequence[Seat], history: History) -> Seat:
    """Who of the seats has waited longest, the first in seating order of several."""
    # One walk through the turns, since this is asked after every turn of a large table.
    latest = {note.participant_id: note.turn for note in reversed(history.turns)}
    return min(seats, key=lambda seat: max(latest.get(seat.participant_id, 0), seat.joined_turn))


def others_than_last(seats: Sequence[Seat], history: History) -> Sequence[Seat]:
    """The seats without the last speaker's, unless that one is alone."""
    return [seat for seat in seats if seat.participant_id != history.last_speaker] or seats
