"""When a discussion has said enough.

Conditions are read after a turn. All but `agreement` are told from the history alone. Agreement costs a question to
a model, so it is asked as seldom as is of use: when as many turns are over as there are seats, something was said in
them, and every speaker has spoken. Inside an `all` beside conditions that need no model, it is asked whenever those
hold. Nothing is asked where the outcome is known without.
"""

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from app.domain.agreement import judge, last_words
from app.domain.policies import History, Seat, Spoken
from app.domain.similarity import similarity, trigrams

DEFAULT_WINDOW, MOST_WINDOW = 6, 50
DEFAULT_THRESHOLD = 0.9
MOST_SILENT_TURNS = 100
COMPARED_CHARACTERS = 2_000
FEWEST_TRIGRAMS = 20
"""About four words: shorter messages are alike by chance."""

ALL_MESSAGES = 200
QUOTED_CHARACTERS = 80

Condition = Mapping[str, Any]


class Open(Enum):
    """What only a model can tell."""

    ASK = "ask"


Finding = str | Open | None
"""Why a condition holds, in words; None: it does not."""


@dataclass
class _Facts:
    """The history, and what was worked out of it for one condition and serves the others."""

    roster: Sequence[Seat]
    history: History
    agreement: bool | None
    is_guarded: bool = False
    alike: list[float] = field(default_factory=list)

    @property
    def last(self) -> Spoken | None:
        """The message of the turn that is over, None if it brought none."""
        return next((one for one in self.history.recent if one.turn == self.history.turn), None)

    def fresh(self) -> Iterable[Spoken]:
        """What was said since the turn before, by whomever, newest first."""
        for one in self.history.recent:
            if one.turn is not None and one.turn < self.history.turn:
                return
            yield one

    def likeness(self, window: int) -> Sequence[float]:
        """How like the last message each of the `window` messages before it is."""
        if self.last is None:
            return ()
        latest = _trigrams(self.last)
        before = self.history.recent[self.history.recent.index(self.last) + 1 :]
        for one in before[len(self.alike) : window]:
            self.alike.append(self._likeness_of(one, latest))
        return self.alike[:window]

    def _likeness_of(self, one: Spoken, latest: frozenset[str]) -> float:
        """Short messages are only told apart where one and the same speaker says them again."""
        assert self.last is not None
        if len(latest) >= FEWEST_TRIGRAMS:
            return similarity(latest, _trigrams(one))
        is_same = one.participant_id == self.last.participant_id and plain(one.content) == plain(self.last.content)
        return 1.0 if is_same else 0.0


def _trigrams(said: Spoken) -> frozenset[str]:
    return trigrams(plain(said.content[:COMPARED_CHARACTERS]))


def plain(text: str) -> str:
    """What a person would take for the same text: whatever case, composition and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def find_met(
    conditions: Iterable[Condition], roster: Sequence[Seat], history: History, *, agreement: bool | None = None
) -> str | None:
    """Which condition ends the discussion after the last turn, in words; None: none does.

    `agreement` is what a model said of it; None: it was not asked, or gave no answer of use, and counts as none.
    """
    finding = _any({"of": conditions}, _Facts(roster, history, agreement))
    return finding if isinstance(finding, str) else None


def must_ask(conditions: Iterable[Condition], roster: Sequence[Seat], history: History) -> bool:
    """Whether only a model can tell if all agree, and it decides whether the discussion is over."""
    return _any({"of": conditions}, _Facts(roster, history, None)) is Open.ASK


def reach(conditions: Iterable[Condition]) -> tuple[int, int]:
    """How many of the latest (messages, turns) the conditions look at."""
    messages = turns = 0
    for condition in conditions:
        inner_messages, inner_turns = reach(condition.get("of", ()))
        messages, turns = max(messages, inner_messages), max(turns, inner_turns)
        if condition["type"] == "agreement":
            messages = ALL_MESSAGES
        elif condition["type"] == "repetition":
            # Interjections after the turn's own message come before it.
            messages = max(messages, 2 * condition.get("window", DEFAULT_WINDOW) + 2)
        elif condition["type"] == "silence":
            turns = max(turns, condition.get("turns") or 0)
    return messages, turns


def _phrase(condition: Condition, facts: _Facts) -> Finding:
    """Found in whatever case and spelling of its characters, in the turn's message or in what was said meanwhile."""
    phrase = plain(condition["phrase"])
    found = any(phrase in plain(one.content) for one in facts.fresh())
    return f"somebody said “{_brief(condition['phrase'])}”" if found else None


def _brief(phrase: str) -> str:
    return phrase if len(phrase) <= QUOTED_CHARACTERS else phrase[: QUOTED_CHARACTERS - 1] + "…"


def _silence(condition: Condition, facts: _Facts) -> Finding:
    seats = len(facts.roster)
    turns = condition.get("turns") or max(seats, 1)
    latest = facts.history.turns[:turns]
    is_silent = len(latest) == turns and all(note.outcome == "passed" for note in latest)
    if not is_silent or facts.history.turn < seats:
        return None
    return f"nobody had anything to say for {turns} {'turn' if turns == 1 else 'turns'}"


def _repetition(condition: Condition, facts: _Facts) -> Finding:
    alike = facts.likeness(condition.get("window", DEFAULT_WINDOW))
    is_repeated = any(one >= condition.get("threshold", DEFAULT_THRESHOLD) for one in alike)
    return "the last message repeats what was said shortly before" if is_repeated else None


def _agreement(_condition: Condition, facts: _Facts) -> Finding:
    if facts.agreement is not None:
        return "all speakers agree" if facts.agreement else None
    if judge(facts.roster) is None or last_words(facts.roster, facts.history) is None:
        return None
    return Open.ASK if facts.is_guarded or _is_round_over(facts) else None


def _is_round_over(facts: _Facts) -> bool:
    history, seats = facts.history, len(facts.roster)
    if history.turn == 0 or history.turn % seats:
        return False
    return any(one.turn is not None and one.turn > history.turn - seats for one in history.recent)


def _all(condition: Condition, facts: _Facts) -> Finding:
    parts = condition["of"]
    is_guarded = facts.is_guarded or not all(_mentions_agreement(part) for part in parts)
    inside = replace(facts, is_guarded=is_guarded)
    words: list[str] = []
    is_open = False
    for part in parts:
        finding = _find(part, inside)
        if finding is None:
            return None
        if isinstance(finding, str):
            words.append(finding)
        else:
            is_open = True
    return Open.ASK if is_open else ", and ".join(words)


def _any(condition: Condition, facts: _Facts) -> Finding:
    is_open = False
    for part in condition["of"]:
        finding = _find(part, facts)
        if isinstance(finding, str):
            return finding
        is_open = is_open or finding is Open.ASK
    return Open.ASK if is_open else None


def _mentions_agreement(condition: Condition) -> bool:
    return condition["type"] == "agreement" or any(_mentions_agreement(part) for part in condition.get("of", ()))


_KINDS: Mapping[str, Callable[[Condition, _Facts], Finding]] = {
    "phrase": _phrase,
    "agreement": _agreement,
    "silence": _silence,
    "repetition": _repetition,
    "all": _all,
    "any": _any,
}


def _find(condition: Condition, facts: _Facts) -> Finding:
    return _KINDS[condition["type"]](condition, facts)
