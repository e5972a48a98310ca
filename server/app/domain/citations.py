"""`[n]` in what an agent says, and what of its sources it points to. Without I/O.

A citation is a number of a source in square brackets, or several: `[2]`, `[1, 3]`, `[1-3]`, `[1][2]`. None is what
stands in code, what is a link or its definition (`[1](…)`, `[text][1]`, `[1]: …`), and a number of four digits.
"""

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from app.domain.grounding import Source

MOST_MARKS = 200
"""Of one text; what comes after them is text like any other."""
LONGEST_QUOTE, LONGEST_CLAIM = 400, 1000
"""Characters."""
WIDEST_RANGE = 20
ENOUGH_BETTER = 1.25
"""By so much two sentences together must fit better than the best one alone."""

_NUMBERS = r"\d{1,4}(?:\s*[-–,;]\s*\d{1,4})*"
MARK = re.compile(rf"\[\s*({_NUMBERS})\s*\]")
_CODE = re.compile(
    r"^[ ]{0,3}(?P<fence>`{3,}|~{3,})[^\n]*\n.*?(?:^[ ]{0,3}(?P=fence)[`~]*[ \t]*$|\Z)"
    r"|(?<!`)(?P<tick>`+)(?!`).{0,2000}?(?<!`)(?P=tick)(?!`)",
    re.MULTILINE | re.DOTALL,
)
_PART = re.compile(r"(\d+)(?:\s*[-–]\s*(\d+))?")
# Begins at a run's first sign only: text of nothing but full stops takes no longer than other text.
_SENTENCE_END = re.compile(
    r"(?<![.!?…])[.!?…]++[\"'”’)\]]*+(?=\s|\Z)|[。！？]|\n\s*\n|\n(?=\s*(?:[-*•]|\d{1,4}[.)])\s)"
)
_WORD = re.compile(r"[^\W_]+")
_SCRIPT_WITHOUT_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0eff]")


@dataclass(frozen=True, slots=True)
class Citations:
    """What a text cites, as messages carry it, and how many of its citations point to nothing."""

    found: list[dict[str, Any]] = field(default_factory=list)
    dropped: int = 0


NONE = Citations()


def without_marks(text: str) -> str:
    """`text` with other brackets around numbers, so that it cites nothing and no source of ours begins in it."""
    return MARK.sub(r"(\1)", text) if "[" in text else text


def cite(text: str, sources: Sequence[Source], cited: Mapping[int, Mapping[str, Any]] | None = None) -> Citations:
    """What `text` cites of the sources that its writer was shown, or of what was `cited` in the discussion before.

    Each number comes once for each quote, in the order of the text. The quote is what of the source fits best to the
    sentence that cites it.
    """
    if "[" not in text or not (sources or cited):
        return NONE
    by_number = {source.number: source for source in sources}
    looked_at: dict[int, _Sentences] = {}
    found: dict[tuple[int, int], dict[str, Any]] = {}
    dropped = 0
    for claim, number in _marks(text):
        source = by_number.get(number)
        if source is not None:
            if number not in looked_at:
                looked_at[number] = _Sentences(source.text)
            citation = _citation(source, *looked_at[number].best(claim))
        elif cited is not None and number in cited:
            citation = dict(cited[number])
        else:
            dropped += 1
            continue
        found.setdefault((number, citation["span"]["start"]), citation)
    return Citations(list(found.values()), dropped)


def _citation(source: Source, start: int, end: int) -> dict[str, Any]:
    place = source.start + start
    return {
        "n": source.number,
        "document_id": str(source.document_id),
        "chunk_id": str(source.chunk_id) if source.chunk_id is not None else None,
        "title": source.title,
        "page": source.page_at(place),
        "span": {"start": place, "end": source.start + end},
        "quote": source.text[start:end],
    }


def _marks(text: str) -> Iterator[tuple[str, int]]:
    """Each number that is cited, with the sentence that cites it."""
    prose = _CODE.sub(lambda code: " " * len(code[0]), text)
    ends = [0, *(match.end() for match in _SENTENCE_END.finditer(prose)), len(prose)]
    last_end = -1
    for mark in islice(MARK.finditer(prose), MOST_MARKS):
        is_next_to_one = mark.start() == last_end
        if _is_link(prose, mark, is_next_to_one=is_next_to_one):
            continue
        last_end = mark.end()
        claim = _claim(prose, mark.start(), ends)
        for number in _numbers(mark[1]):
            yield claim, number


def _is_link(prose: str, mark: re.Match[str], *, is_next_to_one: bool) -> bool:
    following, before = prose[mark.end() : mark.end() + 1], prose[mark.start() - 1 : mark.start()]
    if following == "(" and re.match(r"\((?:\S+:|/|#|www\.)", prose[mark.end() : mark.end() + 12]):
        return True
    if following == ":" and prose[: mark.start()].rpartition("\n")[2].strip() == "":
        return True
    return before == "]" and not is_next_to_one


def _numbers(listed: str) -> Iterator[int]:
    for part in _PART.finditer(listed):
        first, last = int(part[1]), int(part[2] or part[1])
        if max(first, last) >= 1000:
            continue
        yield from range(first, min(last, first + WIDEST_RANGE - 1) + 1) if last >= first else (first, last)


def _claim(prose: str, place: int, ends: Sequence[int]) -> str:
    """The sentence before a mark: the one it stands in, or, at its beginning, the one that has just ended."""
    latest = bisect_left(ends, place) - 1
    for number in (latest, latest - 1):
        if number >= 0:
            sentence = MARK.sub(" ", prose[max(ends[number], place - LONGEST_CLAIM) : place])
            if _WORD.search(sentence):
                return sentence
    following = MARK.sub(" ", prose[place : place + LONGEST_CLAIM])  # a text that begins with its citation
    end = _SENTENCE_END.search(following)
    return following[: end.end()] if end else following


class _Sentences:
    """A source's sentences, each as its place and its words."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._spans = list(_sentences(text))
        self._words = [_words(text[start:end]) for start, end in self._spans]
        self._holding: dict[str, list[int]] = {}
        for place, words in enumerate(self._words):
            for word in words:
                self._holding.setdefault(word, []).append(place)

    def best(self, claim: str) -> tuple[int, int]:
        """The sentence, or two in a row, that share most with the claim; the first one where none shares a word."""
        if not self._spans:
            return 0, min(len(self._text), LONGEST_QUOTE)
        wanted = _words(claim)
        sharing = sorted({place for word in wanted for place in self._holding.get(word, ())}) or [0]
        chosen = max(sharing, key=lambda place: self._fit(wanted, self._words[place]))
        start, end = self._spans[chosen]
        alone = self._fit(wanted, self._words[chosen])
        best = alone * ENOUGH_BETTER
        for first in (chosen - 1, chosen):
            if 0 <= first < len(self._spans) - 1 and alone > 0:
                fit = self._fit(wanted, self._words[first] | self._words[first + 1])
                if fit > best:
                    best, start, end = fit, self._spans[first][0], self._spans[first + 1][1]
        return self._bounded(start, end, wanted)

    def _fit(self, wanted: frozenset[str], words: frozenset[str]) -> float:
        """Rare words count for more, and long sentences for less (as in BM25)."""
        total = len(self._spans)
        shared = sum(math.log(1 + total / len(self._holding[word])) for word in wanted & words)
        return shared / (1 + math.log(1 + len(words)))

    def _bounded(self, start: int, end: int, wanted: frozenset[str]) -> tuple[int, int]:
        """No more than a quote may hold, around the first words that are shared."""
        if end - start <= LONGEST_QUOTE:
            return start, end
        shared = (match.start() for match in _WORD.finditer(self._text, start, end) if match[0].casefold() in wanted)
        first = max(start, next(shared, start) - LONGEST_QUOTE // 4)
        begin = self._text.rfind(" ", start, first) + 1 if first > start else start
        begin = max(begin, start)
        stop = min(begin + LONGEST_QUOTE, end)
        cut = self._text.rfind(" ", begin, stop) if stop < end else stop
        return begin, cut if cut > begin + LONGEST_QUOTE // 2 else stop


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    begin = 0
    for end in (*(match.end() for match in _SENTENCE_END.finditer(text)), len(text)):
        sentence = text[begin:end]
        if _WORD.search(sentence):
            start = begin + len(sentence) - len(sentence.lstrip())
            yield start, begin + len(sentence.rstrip())
            begin = end


def _words(text: str) -> frozenset[str]:
    """Its words; of scripts without spaces, their pairs of characters."""
    words: set[str] = set()
    for match in _WORD.finditer(text):
        word = match[0].casefold()
        if _SCRIPT_WITHOUT_SPACES.search(word) and len(word) > 1:
            words.update(word[place : place + 2] for place in range(len(word) - 1))
        else:
            words.add(word)
    return frozenset(words)
