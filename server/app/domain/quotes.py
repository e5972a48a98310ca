"""Finding in a text what somebody says is in it, whatever case, blanks and kinds of quotation marks they use."""

import unicodedata

LEAST_CHARACTERS = 2
_SIGNS = str.maketrans("‘’‚‛“”„‟«»‐‑‒–—―[]", '\'\'\'\'""""""------()')
_AROUND = " \"'….,;:"


class Searched:
    """A text that quotes are looked for in."""

    def __init__(self, text: str) -> None:
        self._plain, self._places = _read(text)

    def find(self, quote: str) -> tuple[int, int] | None:
        """Where it stands in the text, in code points, as whole words; None: nowhere, or it is too short to tell."""
        sought = _read(quote)[0].strip(_AROUND)
        if len(sought) < LEAST_CHARACTERS:
            return None
        at = self._plain.find(sought)
        while at >= 0:
            end = at + len(sought)
            if self._is_whole(at, end):
                return self._places[at], self._places[end - 1] + 1
            at = self._plain.find(sought, at + 1)
        return None

    def _is_whole(self, start: int, end: int) -> bool:
        text = self._plain
        return not (_joined(text[start - 1 : start], text[start]) or _joined(text[end - 1], text[end : end + 1]))


def _joined(one: str, other: str) -> bool:
    """Whether two characters are of one word or number; scripts without blanks between words have no such thing."""
    return bool(one) and bool(other) and (one + other).isascii() and (one + other).isalnum()


def _read(text: str) -> tuple[str, list[int]]:
    """The text as it is compared, and the place in the given one of each of its characters."""
    plain: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        for one in unicodedata.normalize("NFKC", character).translate(_SIGNS).casefold():
            if one.isspace() and (not plain or plain[-1] == " "):
                continue
            plain.append(" " if one.isspace() else one)
            places.append(place)
    return "".join(plain), places
