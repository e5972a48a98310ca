"""How alike two texts are, by the trigrams of their words, as PostgreSQL's pg_trgm counts them.

A word is a run of letters and digits, in lower case, with two spaces before it and one after. The similarity is the
share of distinct trigrams that both texts have (Jaccard). https://www.postgresql.org/docs/current/pgtrgm.html
"""

import re

_WORD = re.compile(r"[^\W_]+")


def trigrams(text: str) -> frozenset[str]:
    """The distinct trigrams of the words of `text`."""
    padded = (f"  {word} " for word in set(_WORD.findall(text.lower())))
    return frozenset(word[at : at + 3] for word in padded for at in range(len(word) - 2))


def similarity(one: frozenset[str], other: frozenset[str]) -> float:
    """Between 0 and 1 for two sets of trigrams; 1 for equal ones, 0 where one of them is empty."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if shared else 0.0
