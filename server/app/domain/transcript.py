"""How a transcript reads, in Markdown and in plain text."""

import re
from collections.abc import Sequence


def _plain_markdown(content: str) -> str:
    """Keep a message from making headings of its own, which would pass for another speaker's."""
    return re.sub(r"^( {0,3})(#{1,6}|=+\s*$|-+\s*$)", r"\1\\\2", content.strip(), flags=re.MULTILINE)


def _plain_text(content: str) -> str:
    """Keep a line of a message from looking like the head of another's."""
    return re.sub(r"^\[(?=turn |aside\])", " [", content.strip(), flags=re.MULTILINE)


def _outcome(status: str, end_reason: str | None) -> str:
    return f"{status} ({end_reason})" if end_reason else status


def markdown_header(
    title: str | None, topic: str, seats: Sequence[tuple[str, str]], status: str, end_reason: str | None
) -> str:
    names = ", ".join(f"{name} (@{handle})" for name, handle in seats)
    return (
        f"# {title or topic}\n\n**Topic:** {topic}\n\n**Participants:** {names}\n\n"
        f"**Status:** {_outcome(status, end_reason)}\n"
    )


def markdown_entry(name: str, handle: str, turn: int | None, content: str, was_cut: bool) -> str:
    place = f"turn {turn}" if turn is not None else "aside"
    cut = " *(interrupted)*" if was_cut else ""
    return f"\n## {name} (@{handle}), {place}{cut}\n\n{_plain_markdown(content)}\n"


def text_header(
    title: str | None, topic: str, seats: Sequence[tuple[str, str]], status: str, end_reason: str | None
) -> str:
    names = ", ".join(f"{name} (@{handle})" for name, handle in seats)
    head = title or topic
    return (
        f"{head}\n{'=' * min(len(head), 120)}\n\nTopic: {topic}\nParticipants: {names}\n"
        f"Status: {_outcome(status, end_reason)}\n"
    )


def text_entry(name: str, handle: str, turn: int | None, content: str, was_cut: bool) -> str:
    place = f"turn {turn}" if turn is not None else "aside"
    cut = " (interrupted)" if was_cut else ""
    return f"\n[{place}] {name} (@{handle}){cut}:\n{_plain_text(content)}\n"
