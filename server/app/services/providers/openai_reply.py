"""The chunks of a streamed chat completion, read as they arrive."""

import json
from typing import Any

import orjson

from app.services.providers.base import Finished, ModelDisconnected, ModelError, ModelMalformed
from app.services.providers.openai_errors import stream_error
from app.services.providers.sse import OversizedEventError, SseParser
from app.services.providers.token_limit import TokenLimit

MAX_REPLY_CHARACTERS = 1024 * 1024
_DONE = b"[DONE]"
MOST_TOKENS = 1_000_000_000


class ReplyReader:
    """Turns bytes into text that PostgreSQL can store; what has been seen so far decides how the reply ends."""

    __slots__ = (
        *("_characters", "_completion_tokens", "_finish_reason", "_half", "_host", "_parser", "_prompt_tokens"),
        *("_limit", "_secret", "begun", "cut", "done", "failure", "progressed"),
    )

    def __init__(self, host: str, *, secret: str = "", max_tokens: int | None = None) -> None:
        self._host = host
        self._limit = None if max_tokens is None else TokenLimit(max_tokens)
        self._secret = secret
        self._parser = SseParser()
        self._finish_reason: str | None = None
        self._prompt_tokens: int | None = None
        self._completion_tokens: int | None = None
        self._characters = 0
        self._half = ""  # a high surrogate whose other half may come in the next chunk
        self.begun = False  # the model has said something, if only to itself
        self.progressed = False  # the last `feed` held at least one chunk, not only comments
        self.done = False
        self.cut = False  # we ended it at its limit: the provider has more to say
        self.failure: ModelError | None = None  # to be raised once the text before it is handed on

    @property
    def complete(self) -> bool:
        """The text is whole: what may still come is bookkeeping."""
        return self.done or self._finish_reason is not None

    def feed(self, received: bytes) -> str:
        """Return the text that `received` completes, up to a `failure` if it holds one; raise beyond the bounds."""
        try:
            events = self._parser.feed(received)
        except OversizedEventError:
            raise self._malformed("a line is too long") from None
        self.progressed = bool(events)
        return self._text_of(events) if events else ""

    def finish(self) -> str:
        """The connection is at its end: return the last text; raise `ModelDisconnected` if the reply is not whole."""
        text = self._text_of(self._parser.finish())
        if not self.complete:
            raise ModelDisconnected(f"{self._host} ended the reply before its end")
        if self._half:
            text, self._half = text + "\ufffd", ""
        return text

    def result(self) -> Finished:
        return Finished(self._finish_reason or "stop", self._prompt_tokens, self._completion_tokens)

    def _text_of(self, events: list[bytes]) -> str:
        parts: list[str] = []
        strict = True
        try:
            for data in events:
                if data == _DONE:
                    self.done = True
                    break
                try:
                    chunk = orjson.loads(data)
                except orjson.JSONDecodeError:
                    chunk, strict = self._loads_leniently(data), False
                self._take(chunk, parts)
        except ModelError as failure:
            self.failure = failure
        except (AttributeError, TypeError, LookupError):
            self.failure = self._malformed("a chunk has an unknown shape")
        text = "".join(parts) if self._limit is None else self._within_limit(parts, self._limit)
        return self._storable(text, strict=strict)

    def _storable(self, text: str, *, strict: bool) -> str:
        """PostgreSQL refuses NULs and lone surrogates."""
        if self._half or not strict:
            text = self._without_surrogates(text)
        if "\0" in text:
            text = text.replace("\0", "")
        self._characters += len(text)
        if self._characters > MAX_REPLY_CHARACTERS:
            raise self._malformed("the reply is too long")
        return text

    def _take(self, chunk: Any, parts: list[str]) -> None:
        if chunk.get("error") or chunk.get("object") == "error":
            raise stream_error(self._host, chunk.get("error") or chunk, secret=self._secret)
        choices = chunk.get("choices")
        if choices:
            choice = choices[0]
            delta = choice.get("delta")
            if delta:
                content = delta.get("content")
                if content:
                    self.begun = True
                    parts.append(content if type(content) is str else _text_parts(content))
                elif not self.begun:
                    # Reasoning and tool calls come in fields of their own; a role alone says nothing yet.
                    self.begun = any(value for key, value in delta.items() if key != "role")
            if choice.get("finish_reason"):
                self._finish_reason = str(choice["finish_reason"])
        usage = chunk.get("usage")
        if usage:
            self._prompt_tokens = _count(usage.get("prompt_tokens"), self._prompt_tokens)
            self._completion_tokens = _count(usage.get("completion_tokens"), self._completion_tokens)

    def _within_limit(self, parts: list[str], limit: TokenLimit) -> str:
        text = limit.allow(parts)
        if limit.reached:
            self.cut = self.done = True
            self.failure = None  # what came after the end does not count
            self._finish_reason = "length"
        return text

    def _loads_leniently(self, data: bytes) -> Any:
        """Lone surrogates in escapes and invalid UTF-8, which orjson refuses, are mended; the rest is malformed."""
        try:
            return json.loads(data.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            raise self._malformed("a chunk is no JSON") from None

    def _without_surrogates(self, text: str) -> str:
        """Join the halves of pairs, also across chunks, and replace those that stay alone by U+FFFD."""
        text = self._half + text
        self._half = ""
        if not self.done and "\ud800" <= text[-1:] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return without_lone_surrogates(text)

    def _malformed(self, why: str) -> ModelMalformed:
        return ModelMalformed(f"{self._host} sent a reply that is not understood: {why}")


def without_lone_surrogates(text: str) -> str:
    """Join the halves of pairs, and replace those that stay alone by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _text_parts(content: Any) -> str:
    """Some providers send a list of parts instead of a string."""
    return "".join(part["text"] for part in content if part["type"] == "text")


def _count(value: object, otherwise: int | None) -> int | None:
    """A token count that can be one: anything else counts as not told."""
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else otherwise
