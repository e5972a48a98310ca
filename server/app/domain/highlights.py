"""Where in a text the words are that somebody looked for."""

import re
from collections.abc import Collection, Iterable

_WORD = re.compile(r"[^\W_]+(?:[\u0300-\u036f]+[^\W_]*)*")
MOST_HIGHLIGHTS = 200


def words_of(texts: Iterable[str]) -> set[str]:
    """The words, in small letters."""
    return {match[0].lower() for text in texts for match in _WORD.finditer(text)}


def places_of(words: Collection[str], text: str) -> list[tuple[int, int]]:
    """Start and end, in code points, of each of the words in the text, the first `MOST_HIGHLIGHTS`."""
    places = [match.span() for match in _WORD.finditer(text) if match[0].lower() in words]
    return places[:MOST_HIGHLIGHTS]
