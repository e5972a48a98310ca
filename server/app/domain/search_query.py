"""What a person writes into a search box: words, "phrases that must be there", and -words that must not."""

import re
from dataclasses import dataclass

_PHRASE = re.compile(r'(?<!\S)(-?)"([^"]+)"')
_EXCLUDED = re.compile(r"(?<!\S)-(\w\S*)")


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """`words` is all that counts for the order, phrases too; `phrases` must be there, `excluded` must not."""

    words: str
    phrases: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


def read_query(text: str) -> SearchQuery:
    """A quote that is not closed and a dash that stands alone are nothing special, as in prose."""
    phrases: list[str] = []
    excluded: list[str] = []

    def take_phrase(match: re.Match[str]) -> str:
        (excluded if match[1] else phrases).append(match[2])
        return " " if match[1] else f" {match[2]} "

    def take_excluded(match: re.Match[str]) -> str:
        excluded.append(match[1])
        return " "

    words = _EXCLUDED.sub(take_excluded, _PHRASE.sub(take_phrase, text))
    return SearchQuery(words.strip(), tuple(phrases), tuple(excluded))
