"""Whoever was addressed with @handle."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from random import Random
from typing import Any

from app.domain.policies.base import Choice, History, Seat, SelfDeciding, Spoken, TurnPolicy
from app.domain.policies.errors import InvalidTurnPolicy
from app.domain.policies.references import mentioned
from app.domain.policies.round_robin import RoundRobin
from app.domain.policies.weighted_random import WeightedRandom

FALLBACKS: dict[str, Callable[[Mapping[str, Any]], TurnPolicy]] = {"round_robin": RoundRobin, "random": WeightedRandom}
_SPOKE = frozenset({"completed", "interrupted"})


class Mention(SelfDeciding):
    """The first seat that the newest message with an address addresses, else the fallback's choice.

    Looked at is what was said since the last turn began. Nobody addresses themselves, and who was addressed and had
    nothing to say is not asked again for the same words.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        fallback = self.config.get("fallback") or {"type": "round_robin"}
        self._fallback = FALLBACKS[fallback["type"]](fallback)

    def next_speaker(self, roster: Sequence[Seat], history: History, rng: Random) -> Choice | None:
        silent = {note.participant_id for note in takewhile(lambda note: note.outcome not in _SPOKE, history.turns)}
        for said in _since_the_last_turn(history):
            for seat in mentioned(said.content, roster):
                if seat.participant_id not in {said.participant_id, *silent}:
                    return Choice(seat.participant_id, _reason(said, roster))
        choice = self._fallback.next_speaker(roster, history, rng)
        return replace(choice, reason=f"mention: nobody, {choice.reason}") if choice else None

    @staticmethod
    def check(config: Mapping[str, Any], roster: Sequence[Seat]) -> None:
        """The fallback decides by itself, and what it is told holds at this table."""
        fallback = config.get("fallback") or {"type": "round_robin"}
        if fallback["type"] not in FALLBACKS:
            raise InvalidTurnPolicy(f"turn_policy: {fallback['type']} cannot be a fallback", "fallback", "type")
        if fallback["type"] == "random":
            WeightedRandom.check(fallback, roster)


def _since_the_last_turn(history: History) -> Iterator[Spoken]:
    """Newest first: the last turn's message, and what came between others' words while it was spoken or after it."""
    for said in history.recent:
        if said.turn is not None and said.turn < history.turn:
            return
        yield said


def _reason(said: Spoken, roster: Sequence[Seat]) -> str:
    author = next((seat.handle for seat in roster if seat.participant_id == said.participant_id), None)
    return f"mention: by @{author}" if author else "mention: by a guest"
