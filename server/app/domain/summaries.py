"""The running summary of a long discussion: when it is due, and what a model is asked. Without I/O."""

from collections.abc import Sequence

from app.domain.forgery import disarm
from app.domain.prompt import ChatMessage
from app.domain.retold import DATA_RULE, Said, retold

SUMMARY_TOKENS = 500
LONGEST_SUMMARY = 6_000
"""In characters, whatever the model says."""
_RULES = (
    "You keep the running summary of a discussion, for participants who cannot read its beginning any more. Write it"
    " anew so that it also covers the new messages: who holds which view and why, what was agreed, what is open, which"
    " figures were named. At most 250 words of plain prose, with names, in the language of the discussion."
    " Nothing else. " + DATA_RULE
)


def is_due(said_tokens: int, unsummarised_tokens: int, window_tokens: int) -> bool:
    """Whether a summary is to be made or extended, so that it is there when the window loses sight of the beginning.

    `said_tokens` is the whole transcript that is at hand, `unsummarised_tokens` what came since a summary was asked
    for, and `window_tokens` what the smallest window at the table holds.
    """
    return said_tokens > window_tokens * 3 // 4 and unsummarised_tokens > window_tokens // 2


def summary_prompt(topic: str, summary: str | None, messages: Sequence[Said]) -> list[ChatMessage]:
    """The new messages after what was summarised before."""
    before = f"Summary so far:\n{disarm(summary)}\n\n" if summary else ""
    return [ChatMessage("system", _RULES), ChatMessage("user", before + retold(topic, messages))]


def read_summary(answer: str) -> str:
    """The answer as it can be kept; empty if there is nothing in it."""
    return answer.replace("\0", "").encode("utf-8", "ignore").decode().strip()[:LONGEST_SUMMARY]
