"""What an agent remembers: which memories come to mind, which say the same, and which are forgotten. Without I/O.

Ranking follows Park et al., "Generative Agents" (2023), section 4.1 (https://arxiv.org/abs/2304.03442): a weighted sum
of recency, which decays by the hour since a memory last came to mind, importance and relevance to what is asked. The
weights are those of the code that they published; theirs stretch each part over the memories at hand, ours are what
they are, so that a score can be compared with others.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

MOST_MEMORIES = 2_000
"""Of one agent; beyond it the least worth is forgotten. All are compared one by one, which bounds what a turn waits."""
RELEVANCE, IMPORTANCE, RECENCY = 3.0, 2.0, 0.5
RECENCY_AN_HOUR = 0.995
SAME_FACT_SIMILARITY = 0.85
"""Cosine similarity from which two memories are looked at as one fact."""
SAME_ORDER = 0.6
"""The share of the shorter one's words that must come in the same order in both."""
STRENGTHENED = 0.2
"""How much of what is missing to full importance a fact gains when it is heard again."""

Sources = Mapping[UUID, frozenset[int]]
"""Places in the logs of discussions, by discussion."""

_WORD = re.compile(r"\w+(?:['\u2019.,]\w+)*%?")


def _words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NEGATIONS = _words_of(
    "no not never none nobody nothing neither nor without cannot nicht nie niemals kein keine keinen keiner ohne"
    " ne pas jamais aucun sans nunca ningún sin não nunca non mai senza niet geen nooit"
)
# What sentences begin with and no name does.
_NO_NAMES = _words_of(
    "a an the this that these those my our your his her its their we they he she it you i in on at for of to from"
    " with by and but as if when there every each all some most der die das ein eine mein unser ihr sein wir sie er"
    " es im am auf bei für von mit und wenn le la les un une notre nous ils elle il dans pour el los las una nuestro"
    " en para"
)


@dataclass(frozen=True, slots=True)
class Recollection:
    """A memory as it enters a prompt."""

    memory_id: UUID
    content: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Trace:
    """What is looked at to tell whether a memory comes to mind; `relevance` is a cosine similarity."""

    memory_id: UUID
    importance: float
    created_at: datetime
    recalled_at: datetime | None
    relevance: float = 0.0

    def recency(self, now: datetime) -> float:
        """1 for what came to mind just now, less by the hour."""
        hours = (now - (self.recalled_at or self.created_at)).total_seconds() / 3600
        return math.pow(RECENCY_AN_HOUR, max(hours, 0.0))

    def score(self, now: datetime) -> float:
        """0 to 1."""
        relevant = RELEVANCE * min(max(self.relevance, 0.0), 1.0)
        return (relevant + self.worth(now)) / (RELEVANCE + IMPORTANCE + RECENCY)

    def worth(self, now: datetime) -> float:
        """What is left of it where nothing is asked."""
        return IMPORTANCE * self.importance + RECENCY * self.recency(now)


def first_to_mind(traces: Iterable[Trace], now: datetime, k: int) -> list[tuple[Trace, float]]:
    """The `k` with the highest scores, and these, highest first; of equal ones the newer first."""
    scored = [(trace, trace.score(now)) for trace in traces]
    return sorted(scored, key=lambda one: (one[1], one[0].created_at, one[0].memory_id), reverse=True)[:k]


def beyond_room(traces: Sequence[Trace], now: datetime, most: int = MOST_MEMORIES) -> list[UUID]:
    """Those that are forgotten so that `most` are left: the least worth first."""
    in_order = sorted(traces, key=lambda trace: (trace.worth(now), trace.created_at, trace.memory_id))
    return [trace.memory_id for trace in in_order[: max(len(traces) - most, 0)]]


@dataclass(frozen=True, slots=True)
class Fact:
    """A memory without its place: what it says, how much it matters, and where it was heard.

    `is_worded_by_person`: its wording is somebody's own, and stays.
    """

    content: str
    importance: float
    sources: Sources = field(default_factory=dict)
    is_worded_by_person: bool = False

    def joined(self, other: "Fact") -> "Fact":
        """Both in one: all sources, more important than either, worded as a person did, else as says more."""
        stays = self.is_worded_by_person or (not other.is_worded_by_person and len(self.content) >= len(other.content))
        most = max(self.importance, other.importance)
        return Fact(
            content=self.content if stays else other.content,
            importance=most + (1 - most) * STRENGTHENED,
            sources=all_of(self.sources, other.sources),
            is_worded_by_person=self.is_worded_by_person or other.is_worded_by_person,
        )


def all_of(one: Sources, other: Sources) -> Sources:
    """The places of both."""
    return {key: one.get(key, frozenset()) | other.get(key, frozenset()) for key in one.keys() | other.keys()}


def says_the_same(one: str, other: str) -> bool:
    """Whether two texts that are alike as vectors also state the same.

    Vectors of sentences hardly see numbers, names, a "not", or who did it to whom: the texts must have the same of
    these, and most words of the shorter one in the same order. A doubt keeps both: a memory too many is no harm.
    """
    words, others = _WORD.findall(one), _WORD.findall(other)
    if _numbers(words) != _numbers(others) or _denials(words) % 2 != _denials(others) % 2:
        return False
    if _names(words, others) != _names(others, words) or (_rest(words, others) and _rest(others, words)):
        return False
    folded, folded_others = [word.casefold() for word in words], [word.casefold() for word in others]
    least = min(len(words), len(others))
    return least > 0 and _in_order(folded, folded_others) >= SAME_ORDER * least


def _numbers(words: Sequence[str]) -> list[str]:
    return sorted(word for word in words if any(character.isdigit() for character in word))


def _denials(words: Sequence[str]) -> int:
    return sum(word.casefold() in _NEGATIONS or word.casefold().endswith(("n't", "n\u2019t")) for word in words)


def _names(words: Sequence[str], others: Sequence[str]) -> list[str]:
    """The names that both have, in the order of `words`."""
    shared = set(filter(_is_name, others))
    return [word for word in dict.fromkeys(words) if word in shared]


def _rest(words: Sequence[str], others: Sequence[str]) -> set[str]:
    """The names that the others have not, also not in small letters."""
    known = {word.casefold() for word in others}
    return {word for word in words if _is_name(word) and word.casefold() not in known}


def _is_name(word: str) -> bool:
    return word[0].isupper() and word.casefold() not in _NO_NAMES


def _in_order(words: Sequence[str], others: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(others) + 1)
    for word in words:
        diagonal = 0
        for place, other in enumerate(others, 1):
            diagonal, row[place] = row[place], diagonal + 1 if word == other else max(row[place], row[place - 1])
    return row[-1]
