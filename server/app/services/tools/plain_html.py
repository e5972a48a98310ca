"""The text of a web page, in time that grows with its length alone, whatever its author had in mind.

Nothing is built and nothing is looked for twice: a mark without its end ends the page. So 256 kB take half a
second at worst, which parsers that repair what is broken cannot promise.
"""

import re
from html import unescape

_SKIPPED = ("script", "style", "template", "noscript", "svg", "head")
_BREAKING = re.compile(
    r"(address|article|aside|blockquote|br|dd|div|dl|dt|fieldset|figure|footer|form|h[1-6]|header|hr|li|main|nav|ol|p"
    r"|pre|section|table|td|th|tr|ul|option)"
)
_TAG_NAME = re.compile(r"/?([a-z][a-z0-9-]{0,30})")
_BLANKS = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\n\s*\n\s*")


def text_of(html: str) -> str:
    """What a reader sees of it, a line for each block."""
    lowered = html.lower()
    if len(lowered) != len(html):  # a few letters have longer small ones
        html = lowered
    parts: list[str] = []
    place = 0
    while (start := html.find("<", place)) >= 0:
        parts.append(html[place:start])
        place = _end_of_mark(lowered, start, parts)
        if place < 0:
            break
    else:
        parts.append(html[place:])
    text = _BLANKS.sub(" ", unescape("".join(parts)))
    return _LINES.sub("\n\n", "\n".join(line.strip() for line in text.split("\n"))).strip()


def _end_of_mark(lowered: str, start: int, parts: list[str]) -> int:
    """Where the text goes on after the mark; -1 where the page ends with it."""
    if lowered.startswith("<!--", start):
        return _after(lowered, "-->", start + 4)
    name = _TAG_NAME.match(lowered, start + 1)
    if name is None:
        if lowered[start + 1 : start + 2] in {"!", "?"}:
            return _after(lowered, ">", start)
        parts.append("<")
        return start + 1
    end = _after(lowered, ">", start)
    if end < 0:
        return end
    if _BREAKING.fullmatch(name[1]):
        parts.append("\n")
    if name[1] in _SKIPPED and name[0] == name[1]:
        return _after_closed(lowered, name[1], end)
    return end


def _after(lowered: str, mark: str, start: int) -> int:
    found = lowered.find(mark, start)
    return -1 if found < 0 else found + len(mark)


def _after_closed(lowered: str, name: str, start: int) -> int:
    closing = lowered.find(f"</{name}", start)
    return -1 if closing < 0 else _after(lowered, ">", closing)
