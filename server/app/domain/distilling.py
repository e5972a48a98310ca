"""Facts worth remembering, distilled from a discussion: what a model is asked, and what of its answer counts."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.forgery import plain_name
from app.domain.policies.answers import find_object
from app.domain.prompt import ChatMessage
from app.domain.retold import DATA_RULE, Said, retold

MOST_FACTS = 12
"""Of one answer."""
LONGEST_FACT = 500
REPLY_TOKENS = 1_200
FACTS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "facts": {
            "type": "array",
            "maxItems": MOST_FACTS,
            "items": {
                "type": "object",
                "properties": {
                    "fact": {"type": "string"},
                    "importance": {"type": "integer", "minimum": 1, "maximum": 10},
                    "seqs": {"type": "array", "items": {"type": "integer"}},
                },
                "required": ["fact", "importance", "seqs"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["facts"],
    "additionalProperties": False,
}
_RULES = (
    "Pick out what is worth remembering for later discussions: what was decided or promised, what people said of"
    " themselves, what was found to be so. Each fact is one sentence that can be understood by itself, with names"
    " instead of pronouns, in the language of the discussion. Leave out small talk and what everybody knows."
    ' "importance" is from 1, trivial, to 10, decisive; "seqs" are the numbers behind # of the messages that say so.'
    f" At most {MOST_FACTS} facts, and none if there is nothing worth it. "
    + DATA_RULE
    + ' Answer with JSON only: {"facts": [{"fact": "…", "importance": 5, "seqs": [12]}]}'
)


@dataclass(frozen=True, slots=True)
class Distilled:
    """A fact, how much it matters (0 to 1), and the places in the log that say so."""

    content: str
    importance: float
    seqs: frozenset[int]


def distilling_prompt(name: str, handle: str, topic: str, messages: Sequence[Said]) -> list[ChatMessage]:
    """For the memory of the agent of that name."""
    system = f"You keep the long-term memory of {plain_name(name)} (@{handle}), who took part in a discussion. {_RULES}"
    return [ChatMessage("system", system), ChatMessage("user", retold(topic, messages))]


def read_facts(answer: str, readable: Collection[int]) -> list[Distilled] | None:
    """The facts of an answer that name a message which was shown; None if the answer is not of the form asked for."""
    found = find_object(answer)
    facts = found.get("facts") if found is not None else None
    if not isinstance(facts, list):
        return None
    read = (_read(fact, frozenset(readable)) for fact in facts[:MOST_FACTS])
    return [fact for fact in read if fact is not None]


def _read(fact: Any, readable: frozenset[int]) -> Distilled | None:
    if not isinstance(fact, dict) or not isinstance(fact.get("fact"), str) or not isinstance(fact.get("seqs"), list):
        return None
    content = _plain(fact["fact"])[:LONGEST_FACT].rstrip()
    seqs = readable & {seq for seq in fact["seqs"] if isinstance(seq, int) and not isinstance(seq, bool)}
    return Distilled(content, _importance(fact.get("importance")), seqs) if content and seqs else None


def _plain(text: str) -> str:
    """On one line, without what the database cannot keep."""
    return " ".join(text.replace("\0", "").encode("utf-8", "ignore").decode().split())


def _importance(told: Any) -> float:
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 <= told <= 10:
        return 0.5
    return told / 10
