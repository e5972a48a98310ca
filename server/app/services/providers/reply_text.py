"""What a model says, as it may be kept: storable, of a bounded length, within its limit."""

from app.services.providers.base import ModelMalformed
from app.services.providers.openai_reply import MAX_REPLY_CHARACTERS, without_lone_surrogates
from app.services.providers.token_limit import TokenLimit


class ReplyText:
    """Takes one piece after another; `reached` then says that the reply is at its limit."""

    __slots__ = ("_characters", "_half", "_host", "_limit")

    def __init__(self, host: str, max_tokens: int | None) -> None:
        self._host = host
        self._limit = None if max_tokens is None else TokenLimit(max_tokens)
        self._characters = 0
        self._half = ""  # a high surrogate whose other half may come in the next piece

    @property
    def reached(self) -> bool:
        return self._limit is not None and self._limit.reached

    def add(self, piece: str) -> str:
        """Return what of it can be handed on; raise `ModelMalformed` if the reply becomes too long."""
        text = piece if self._limit is None else self._limit.allow([piece])
        text, self._half = self._half + text, ""
        if "\ud800" <= text[-1:] <= "\udbff" and not self.reached:
            text, self._half = text[:-1], text[-1]
        text = without_lone_surrogates(text).replace("\0", "")
        self._characters += len(text)
        if self._characters > MAX_REPLY_CHARACTERS:
            raise ModelMalformed(f"{self._host} sent a reply that is not understood: the reply is too long")
        return text

    def rest(self) -> str:
        """What was held back for a half that did not come."""
        text, self._half = self._half, ""
        return without_lone_surrogates(text)
