"""How a transcript reads, in Markdown and in plain text.

Always holds: only our own lines look like the head of an entry, in the source as well as rendered.
"""

import re
from collections.abc import Sequence

from app.domain.forgery import plain_name, reading

_MARKDOWN_HEADING = re.compile(r" {0,3}(#|(=+|-+)\s*$)")
# Markdown lets HTML through; a comment that is not closed hides all that follows.
_HTML_HEADING = re.compile(r"<(?=/?h[1-6]\b|!--)", re.IGNORECASE)
_TEXT_HEAD = re.compile(r"\[\s*(turn|aside)\b", re.IGNORECASE)


def _plain_markdown(content: str) -> str:
    """Keep a message from making headings of its own, which would pass for another speaker's."""
    return "\n".join(map(_plain_markdown_line, content.strip().splitlines()))


def _plain_markdown_line(line: str) -> str:
    line = _HTML_HEADING.sub(r"\\<", line)
    if not _MARKDOWN_HEADING.match(reading(line)):
        return line
    bare = line.lstrip(" ")
    return line[: len(line) - len(bare)] + "\\" + bare


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
    names = ", ".join(f"{plain_name(name)} (@{handle})" for name, handle in seats)
    return (
        f"# {_on_one_line(title or topic)}\n\n**Topic:** {_plain_markdown(topic)}\n\n**Participants:** {names}\n\n"
        f"**Status:** {_outcome(status, end_reason)}\n"
    )


def markdown_entry(name: str, handle: str, turn: int | None, content: str, was_cut: bool) -> str:
    place = f"turn {turn}" if turn is not None else "aside"
    cut = " *(interrupted)*" if was_cut else ""
    return f"\n## {plain_name(name)} (@{handle}), {place}{cut}\n\n{_plain_markdown(content)}\n"


def text_header(
    title: str | None, topic: str, seats: Sequence[tuple[str, str]], status: str, end_reason: str | None
) -> str:
    names = ", ".join(f"{plain_name(name)} (@{handle})" for name, handle in seats)
    head = _on_one_line(title or topic)
    return (
        f"{head}\n{'=' * min(len(head), 120)}\n\nTopic: {_plain_text(topic)}\nParticipants: {names}\n"
        f"Status: {_outcome(status, end_reason)}\n"
    )


def text_entry(name: str, handle: str, turn: int | None, content: str, was_cut: bool) -> str:
    place = f"turn {turn}" if turn is not None else "aside"
    cut = " (interrupted)" if was_cut else ""
    return f"\n[{place}] {plain_name(name)} (@{handle}){cut}:\n{_plain_text(content)}\n"
