"""Others' Markdown as it may stand among ours: it makes no headings, hides nothing that follows, and reads as it did.

Always holds: of what is written here CommonMark makes no heading and no HTML, and its code blocks end where it does.

To know what is code without being a parser of Markdown, fences are put where they are beyond doubt: at the beginning of
a line, where they belong to no list and no quotation. Between two of ours nothing is changed but its indentation, by
what its fence was set in. Fences in quotations stay and end with them; there, in indented code and in code within a
line, a `<` is shown with the backslash before it.
"""

import re
from collections.abc import Iterator

from app.domain.forgery import reading

# HTML, comments and declarations; behind the bracket, invisible characters may be dropped by whoever reads it.
_TAG = re.compile(r"(?<!\\)(\\*)<(?=[a-z/!?]|[^\t -~])", re.IGNORECASE)
_MARKS = r"[ \t]*(?:(?:>|(?:[-+*]|\d{1,9}[.)])(?=[ \t]+\S))[ \t]*)*"
"""What lines of quotations and lists begin with."""
_CONTAINERS = re.compile(_MARKS)
_HEADING = re.compile(rf"{_MARKS}(?:#|(?:=+|-+)\s*$)")
_OPENING = re.compile(
    r"(?P<indent>\s*)(?P<marks>(?:(?:[-+*]|\d{1,9}[.)])[ \t]+)*)(?P<fence>(?P<ticks>`{3,})(?=[^`]*$)|~{3,})(?P<info>.*)"
)


def plain_markdown(content: str) -> str:
    """Several lines, for a place of their own."""
    return "\n".join(_lines(content.strip().splitlines()))


def plain_inline(text: str) -> str:
    """Within one line of ours, behind its beginning."""
    return _TAG.sub(_escaped, " ".join(text.split()))


def _lines(lines: list[str]) -> Iterator[str]:
    fence, indent = "", 0
    for line in lines:
        seen = reading(line)
        if fence:
            if _closes(seen, fence):
                yield fence
                fence = ""
            else:
                yield _set_out(line, indent)
        elif opening := _OPENING.fullmatch(line) or _OPENING.fullmatch(seen):
            if opening["marks"]:
                yield _plain_line(opening["marks"].rstrip())
            fence, indent = opening["fence"], len((opening["indent"] + opening["marks"]).expandtabs(4))
            yield fence + ("" if "`" in reading(opening["info"]) else opening["info"])
        else:
            yield _plain_line(line)
    if fence:
        yield fence


def _closes(line: str, fence: str) -> bool:
    """Whether it is a fence that ends a block, wherever it stands."""
    bare = line.strip()
    return len(bare) >= len(fence) and not bare.strip(fence[0])


def _set_out(line: str, indent: int) -> str:
    """Without the indentation that its fence had; never less than that of the line itself."""
    own = len(line) - len(line.lstrip(" "))
    return line[min(own, indent) :]


def _plain_line(line: str) -> str:
    line = _TAG.sub(_escaped, line)
    containers = _CONTAINERS.match(line)
    place = containers.end() if containers else 0
    return f"{line[:place]}\\{line[place:]}" if _HEADING.match(reading(line[place:])) else line


def _escaped(match: re.Match[str]) -> str:
    """A bracket behind an odd number of backslashes is escaped already."""
    return match[0] if len(match[1]) % 2 else f"{match[1]}\\<"
