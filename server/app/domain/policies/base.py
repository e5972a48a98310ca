"""The port of a turn policy: `(roster, history, rng) → speaker and reason`, without I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Seat:
    """A participant in the speaking order."""

    participant_id: UUID
    kind: Literal["llm", "external", "human"]
    handle: str
    name: str

    @property
    def needs_waiting(self) -> bool:
        """Whether its turns come from outside."""
        return self.kind != "llm"


@dataclass(frozen=True, slots=True)
class History:
    """What a policy may know of the past: committed turns, and who took the last one."""

    turn: int
    last_speaker: UUID | None


@dataclass(frozen=True, slots=True)
class Choice:
    """The next speaker, and the reason that goes into the log."""

    participant_id: UUID
    reason: str


class TurnPolicy(Protocol):
    """Chooses from a roster that is never empty, in seating order."""

    def next_speaker(self, roster: Sequence[Seat], history: History, rng: Random) -> Choice: ...
