"""How a transcript reads, in Markdown and in plain text.

Always holds: only our own lines look like the head of an entry, in the source as well as rendered.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.forgery import plain_name, reading
from app.domain.plain_markdown import plain_inline, plain_markdown


@dataclass(frozen=True, slots=True)
class CitedSource:
    """What a message cites, as its list of sources shows it."""

    number: int
    title: str
    page: int | None
    quote: str


_TEXT_HEAD = re.compile(r"\[\s*(turn|aside)\b", re.IGNORECASE)


def _plain_text(content: str) -> str:
    """Keep a line of a message from looking like the head of another's."""
    lines = content.strip().splitlines()
    return "\n".join(f" {line}" if _TEXT_HEAD.match(reading(line)) else line for line in lines)


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _outcome(status: str, end_reason: str | None) -> str:
    return f"{status} ({end_reason})" if end_reason else status


def markdown_header(
    title: str | None, topic: str, seats: Sequence[tuple[str, str]], status: str, end_reason: str | None
) -> str:
    names = ", ".join(f"{plain_inline(plain_name(name))} (@{handle})" for name, handle in seats)
    return (
        f"# {plain_inline(title or topic)}\n\n{_markdown_topic(topic)}\n\n**Participants:** {names}\n\n"
        f"**Status:** {_outcome(status, end_reason)}\n"
    )


def _markdown_topic(topic: str) -> str:
    """One of several lines has a place of its own, where what begins them is what it looks like."""
    if len(topic.strip().splitlines()) > 1:
        return f"**Topic:**\n\n{plain_markdown(topic)}"
    return f"**Topic:** {plain_inline(topic)}"


def markdown_entry(
    name: str, handle: str, turn: int | None, content: str, was_cut: bool, sources: Sequence[CitedSource] = ()
) -> str:
    place = f"turn {turn}" if turn is not None else "aside"
    cut = " *(interrupted)*" if was_cut else ""
    said = f"\n## {plain_inline(plain_name(name))} (@{handle}), {place}{cut}\n\n{plain_markdown(content)}\n"
    lines = [
        f"- \\[{one.number}\\] {plain_inline(_named(one))}: “{plain_inline(_on_one_line(one.quote))}”"
        for one in sources
    ]
    return said + "\n**Sources:**\n\n" + "\n".join(lines) + "\n" if lines else said


def text_header(
    title: str | None, topic: str, seats: Sequence[tuple[str, str]], status: str, end_reason: str | None
) -> str:
    names = ", ".join(f"{plain_name(name)} (@{handle})" for name, handle in seats)
    head = _on_one_line(title or topic)
    return (
        f"{head}\n{'=' * min(len(head), 120)}\n\nTopic: {_plain_text(topic)}\nParticipants: {names}\n"
        f"Status: {_outcome(status, end_reason)}\n"
    )


def text_entry(
    name: str, handle: str, turn: int | None, content: str, was_cut: bool, sources: Sequence[CitedSource] = ()
) -> str:
    place = f"turn {turn}" if turn is not None else "aside"
    cut = " (interrupted)" if was_cut else ""
    said = f"\n[{place}] {plain_name(name)} (@{handle}){cut}:\n{_plain_text(content)}\n"
    lines = [f"  [{one.number}] {_named(one)}: “{_on_one_line(one.quote)}”\n" for one in sources]
    return said + "Sources:\n" + "".join(lines) if lines else said


def _named(source: CitedSource) -> str:
    page = f", page {source.page}" if source.page is not None else ""
    return plain_name(source.title) + page
