"""An end to replies whose provider does not keep to `max_tokens`.

A provider that keeps to it sends its finish reason before it comes to any of these bounds:

- More text chunks than `max_tokens`, where the text is worth a token a chunk: the reply ends with exactly `max_tokens`
  chunks. A server that cuts its text finer than tokens, into one or two letters say, has chunks that are worth less,
  and is left to the other bounds. Only pieces of about a word that are no tokens (a proxy that sends five letters at a
  time) cannot be told from them: there a reply that would fill its limit may end a fifth too early.
- Text worth `SLACK` times as much as `max_tokens` by our estimate, which is on the high side and knows nothing of runs
  (64 dashes may be one token): for servers that put many tokens into a chunk.
- `MOST_CHUNKS_PER_TOKEN` times as many chunks, whatever is in them.
"""

from app.domain.context import weigh_tokens

SLACK = 4
SLACK_TOKENS = 64
MOST_CHUNKS_PER_TOKEN = 8
_MOST_TOKENS_PER_CHARACTER = 1.6  # of `weigh_tokens`: four bytes beyond ASCII


class TokenLimit:
    """Counts one reply. Its text is weighed only where a bound may be near: before that a chunk costs nothing."""

    __slots__ = ("_characters", "_chunks", "_max_tokens", "_most", "_unweighed", "_weigh_at", "_weight", "reached")

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._most = max_tokens * SLACK + SLACK_TOKENS
        self._chunks = 0
        self._characters = 0
        self._weight = 0.0
        self._unweighed: list[str] = []
        self._weigh_at = self._most / _MOST_TOKENS_PER_CHARACTER  # characters
        self.reached = False

    def allow(self, chunks: list[str]) -> str:
        """Return their text as far as it is within the limit; `reached` then says that the reply is at its end."""
        if self._chunks + len(chunks) > self._max_tokens:
            return "".join([self._allow_beyond(chunk) for chunk in chunks])
        return self._add("".join(chunks), len(chunks))

    def _allow_beyond(self, chunk: str) -> str:
        if self.reached or (self._chunks >= self._max_tokens and self._is_over()):
            self.reached = True
            return ""
        return self._add(chunk, 1)

    def _add(self, text: str, chunks: int) -> str:
        self._chunks += chunks
        self._characters += len(text)
        self._unweighed.append(text)
        return text if self._characters < self._weigh_at else self._within(text)

    def _is_over(self) -> bool:
        return self._weigh() + 1 >= self._chunks or self._chunks >= self._max_tokens * MOST_CHUNKS_PER_TOKEN

    def _within(self, text: str) -> str:
        excess = self._weigh() - self._most
        self._weigh_at = self._characters - excess / _MOST_TOKENS_PER_CHARACTER
        if excess < 0:
            return text
        self.reached = True
        return text[: int(len(text) * max(1 - excess / weigh_tokens(text), 0))]

    def _weigh(self) -> float:
        self._weight += weigh_tokens("".join(self._unweighed))
        self._unweighed.clear()
        return self._weight
