"""What happens after a turn: the next speaker, or the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any
from uuid import UUID

from app.domain.discussion import TurnFailurePolicy
from app.domain.endings import Ending, find_ending
from app.domain.events import NextSpeaker
from app.domain.limits import Limits, Spending
from app.domain.policies import (
    Brief,
    Choice,
    History,
    Question,
    Seat,
    TurnPolicy,
    longest_waiting,
    make_policy,
)
from app.domain.stop_conditions import find_met, must_ask, reach

# Whoever has waited longer than that many rounds gets the floor, whatever the policy says.
PATIENCE_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Floor:
    """Who gets the floor; `speaker` None: a human has to choose. `state` is what the policy keeps."""

    speaker: NextSpeaker | None
    state: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Table:
    """The rules of one discussion and who sits in the speaking order, in seating order."""

    seats: Sequence[Seat]
    turn_policy: Mapping[str, Any]
    limits: Limits
    stop_when: Sequence[Mapping[str, Any]]
    seed: int | str | None
    on_turn_failure: TurnFailurePolicy = TurnFailurePolicy.PAUSE

    def seat(self, participant_id: UUID | None) -> Seat | None:
        return next((seat for seat in self.seats if seat.participant_id == participant_id), None)

    @cached_property
    def policy(self) -> TurnPolicy:
        return make_policy(self.turn_policy)

    def questions(self, history: History) -> Sequence[Question]:
        """What models must be asked before `choose`; nobody is asked about somebody who has waited too long."""
        questions = self.policy.questions(self.seats, history)
        return () if questions and self._overdue(history) else questions

    def asks_for_agreement(self, history: History) -> bool:
        """Whether a model has to say if all agree before the discussion goes on."""
        return bool(self.stop_when) and must_ask(self.stop_when, self.seats, history)

    def must_ask(self, history: History) -> bool:
        """Whether any model has to be asked before the discussion goes on."""
        return self.asks_for_agreement(history) or bool(self.questions(history))

    @cached_property
    def reach(self) -> tuple[int, int]:
        """How many of the latest (messages, turns) the rules look at, at least."""
        messages, turns = reach(self.stop_when)
        least = PATIENCE_ROUNDS * len(self.seats) + 2
        return max(messages, least), max(turns, least)

    def choose(self, history: History) -> Floor | None:
        """Ask the policy; None: it has nothing more to give. The same seed, history and roster choose the same."""
        overdue = self._overdue(history)
        if overdue is not None:
            choice: Choice | None = Choice(overdue.participant_id, "waited_too_long", history.state)
        else:
            rng = Random(f"{self.seed}:{history.turn}")  # noqa: S311 - a draw that can be repeated, no secret
            choice = self.policy.next_speaker(self.seats, history, rng)
        if choice is None:
            return None
        if choice.participant_id is None:
            return Floor(None, choice.state)
        seat = self.seat(choice.participant_id)
        if seat is None:
            raise RuntimeError(f"turn policy {self.turn_policy['type']} chose somebody who is not at the table")
        return Floor(NextSpeaker(seat.participant_id, seat.handle, choice.reason), choice.state)

    def ending(
        self,
        history: History,
        used: Spending,
        wrap_up: str | None,
        *,
        agreement: bool | None = None,
        was_heard: bool = True,
    ) -> Ending | None:
        """Why the discussion ends after what just happened, None if more may follow.

        `agreement` is what a model said of it; what was not `was_heard` by all meets no stop condition.
        """
        met = find_met(self.stop_when, self.seats, history, agreement=agreement) if was_heard else None
        return find_ending(self.limits, used, wrap_up, met)

    def brief(self, participant_id: UUID, state: Mapping[str, Any] | None) -> Brief:
        """What the policy tells that speaker."""
        seat = self.seat(participant_id)
        return self.policy.brief(seat, state) if seat else Brief()

    def _overdue(self, history: History) -> Seat | None:
        """Who of those who take turns has waited longest, if that is too long."""
        patience = PATIENCE_ROUNDS * len(self.seats)
        if history.turn <= patience:
            return None
        candidates = self.policy.candidates(self.seats)
        if not candidates:
            return None
        longest = longest_waiting(candidates, history)
        return longest if history.waited(longest) > patience else None
