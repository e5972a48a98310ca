"""What happens after a turn: the next speaker, or the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

from app.domain.discussion import EndReason
from app.domain.events import NextSpeaker
from app.domain.limits import Limits, Spending
from app.domain.policies import POLICIES, History, Seat
from app.domain.stop_conditions import is_met


@dataclass(frozen=True, slots=True)
class Table:
    """The rules of one discussion and who sits in the speaking order, in seating order."""

    seats: Sequence[Seat]
    turn_policy: Mapping[str, Any]
    limits: Limits
    stop_when: Sequence[Mapping[str, Any]]
    seed: int | None

    def seat(self, participant_id: UUID) -> Seat | None:
        return next((seat for seat in self.seats if seat.participant_id == participant_id), None)

    def choose(self, history: History) -> NextSpeaker:
        """Ask the policy; the same seed, history and roster choose the same speaker."""
        policy = POLICIES[self.turn_policy["type"]]()
        choice = policy.next_speaker(self.seats, history, Random(f"{self.seed}:{history.turn}"))  # noqa: S311
        seat = self.seat(choice.participant_id)
        if seat is None:
            raise RuntimeError(f"turn policy {self.turn_policy['type']} chose somebody who is not at the table")
        return NextSpeaker(seat.participant_id, seat.handle, choice.reason)

    def end_after(self, content: str, used: Spending) -> EndReason | None:
        """Why the discussion ends with a turn that said `content`, or None if it goes on."""
        if is_met(self.stop_when, content):
            return EndReason.STOP_CONDITION
        return self.limits.breach(used, Spending())
