"""Sentences that read like documentation: a chain of words, learned from the manuals that Python brings along.

Each text stays near one of its subjects, so that some passages are about the same thing and most are not.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterator
from pydoc_data.topics import topics

_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*|[.,;:]")
_ENDS = frozenset(".")
Chain = dict[tuple[str, str], list[str]]


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _learn(texts: list[str]) -> Chain:
    chain: Chain = defaultdict(list)
    for text in texts:
        words = _words(text)
        for one, two, three in zip(words, words[1:], words[2:], strict=False):
            chain[one, two].append(three)
    return chain


class Prose:
    """Endless text by chance; the same seed, the same text."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        texts = sorted(text for text in topics.values() if len(text) > 2_000)
        self._general = _learn(texts)
        self._subjects = [chain for text in texts if len(chain := _learn([text])) > 500]
        self._starts = [list(chain) for chain in self._subjects]

    def text(self, characters: int) -> str:
        """Paragraphs about one subject, about so long in all."""
        number = self._chance.randrange(len(self._subjects))
        said, length, sentences = [], 0, 0
        for word in self._chain(number):
            if word in ".,;:":
                said.append(word)
                sentences += word in _ENDS
                if word in _ENDS and sentences % 6 == 0:
                    said.append("\n\n")
            else:
                said.append(f" {word}" if said and said[-1] != "\n\n" else word)
            length += len(said[-1])
            if (length >= characters and word in _ENDS) or length >= 2 * characters:
                return "".join(said).strip()
        raise AssertionError("the chain is endless")

    def _chain(self, number: int) -> Iterator[str]:
        subject, starts = self._subjects[number], self._starts[number]
        pair = self._chance.choice(starts)
        while True:
            following = subject.get(pair)
            if following is None or self._chance.random() < 0.2:
                following = self._general.get(pair)
            if following is None:
                pair = self._chance.choice(starts)
                continue
            word = self._chance.choice(following)
            yield word
            pair = (pair[1], word)

    def question(self, text: str) -> str:
        """Some words in a row of the text, of which a third are lost."""
        words = [word for word in _words(text) if word not in ".,;:"]
        start = self._chance.randrange(max(1, len(words) - 12))
        return " ".join(word for word in words[start : start + 12] if self._chance.random() > 1 / 3) or words[start]
