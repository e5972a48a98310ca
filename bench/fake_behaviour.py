"""How a fake model behaves: read from its name, so that whoever picks a model scripts it.

`fake` answers 64 words at once; `fake?tokens=20&delay_ms=50` slower; `fake?fail_times=2&status=503` fails twice first.
"""

import json
import random
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

VARIANTS = 16
"""A model's replies repeat after this many requests, so that whole replies can be kept ready."""

_TEXT = (
    "the panel doubts every claim until somebody shows the figures and then it weighs what they cost against what "
    "we would lose by waiting another quarter while our competitors move ahead with less evidence but more nerve"
)
_WORDS = _TEXT.split()
_WORD = re.compile(r"\s*\S+|\s+\Z")
_UNICODE_WORDS = ("naïve", "日本語", "🦊", "👩‍🚀", "Ω≈ç", "façade", "žluťoučký", "🏳️‍🌈", "𝔘", "word")
_FLAG: dict[object, object] = {bool: True, int: 1, int | None: 1, float: 1.0, str: ""}


class UnknownOptionError(ValueError):
    """A model name asks for something that the fake server does not do."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Every way a fake model can be asked to answer; `*_after` count tokens sent before it happens."""

    tokens: int = 64
    token_bytes: int = 0  # pad every token to this many bytes
    delay_ms: float = 0.0  # before every token but the first
    first_ms: float = 0.0  # before the first token
    unicode: bool = False
    ascii: bool = False  # non-ASCII text as \u escapes
    nul: bool = False  # every token holds a NUL
    surrogates: bool = False  # every token holds a lone surrogate, as an escape
    reply: str = ""  # the reply's text, percent-encoded, instead of words by chance
    chunk_tokens: int = 1  # words a chunk
    stamped: bool = (
        False  # every token holds the time of its writing, see `bench.stamps`; `endless` until `POST /finish`
    )
    echo: int | None = None  # reply with a digest of the request, this many characters of each message
    empty: bool = False
    whitespace: bool = False
    endless: bool = False  # whatever `max_tokens` says
    ignore_max_tokens: bool = False
    crlf: bool = False
    cr: bool = False
    no_space: bool = False  # `data:` without a space
    comments: bool = False
    split_utf8: bool = False  # a TCP write ends within every multi-byte character
    slow_write: int = 0  # bytes a TCP write, a millisecond apart
    no_usage: bool = False
    no_finish: bool = False  # no chunk with a finish_reason
    no_done: bool = False  # no `[DONE]`
    late_end: bool = False  # the response ends 10 ms after its last event
    json: bool = False  # answer a stream request with one JSON document
    status: int = 0
    retry_after: str = ""
    context_tokens: int = 0  # refuse a longer prompt, at four bytes of the request a token
    dimensions: int = 32  # of an embedding
    reject_format: bool = False  # refuse a `response_format`
    reject_tools: bool = False  # refuse tools
    reject_temperature: bool = False  # refuse a `temperature`, as models that reason do
    message: str = ""  # of the error
    code: str = ""  # of the error
    message_bytes: int = 0  # pad it
    leak_key: bool = False  # quote the request's key in it
    malformed: int | None = None
    error_after: int | None = None
    disconnect_after: int | None = None
    hang_after: int | None = None
    hang_first: bool = False  # not even headers
    hang_end: bool = False  # after the finish_reason
    chatter: bool = False  # while silent, send comments
    drop: bool = False  # close before any header
    calls: str = ""  # ask for these tools: `name{JSON}name{JSON}`, percent-encoded, see `scripted_calls`
    call_rounds: int = 1  # as often, in requests that follow each other's results; then answer in words
    call_words: int = 0  # words said before the calls
    call_bytes: int = 0  # send arguments in pieces so long, instead of each call whole
    call_wire: str = ""  # how unlike OpenAI: any of `no_id`, `no_index`, `same_index`, `objects`, `together`
    unasked: bool = False  # ask for them even where no tools are offered, or none may be called
    fail_times: int = 0  # only the first requests of `key` misbehave, with `status` 500 unless told
    key: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether all bytes of a reply can be kept ready and sent in one write."""
        return self == replace(_PLAIN, **{name: getattr(self, name) for name in _TEXT_ONLY})

    def healed(self) -> "Behaviour":
        """The same model without its faults."""
        return replace(self, **{name: getattr(_PLAIN, name) for name in _FAULTS})


_PLAIN = Behaviour()
_TEXT_ONLY = (
    *(
        "tokens",
        "reply",
        "ignore_max_tokens",
        "context_tokens",
        "reject_format",
        "reject_tools",
        "reject_temperature",
        "token_bytes",
        "unicode",
        "ascii",
        "nul",
        "surrogates",
        "empty",
        "whitespace",
    ),
    *("crlf", "cr", "no_space", "comments", "no_usage", "no_finish", "no_done"),
)
_FAULTS = (
    *("status", "retry_after", "leak_key", "malformed", "error_after", "disconnect_after", "hang_after"),
    *("hang_first", "drop", "no_finish", "no_done", "fail_times", "empty", "whitespace", "endless", "json"),
)
_TYPES: dict[str, object] = {field.name: field.type for field in fields(Behaviour)}


def scripted_calls(calls: str) -> list[tuple[str, dict[str, Any]]]:
    """Names and arguments of `calculator{"expression":"2+3"}clock{}`; raise `ValueError` if it is not written so."""
    decoder = json.JSONDecoder()
    found: list[tuple[str, dict[str, Any]]] = []
    while calls:
        start = calls.index("{")
        arguments, length = decoder.raw_decode(calls[start:])
        found.append((calls[:start], arguments))
        calls = calls[start + length :]
    return found


def written(calls: Iterable[tuple[str, dict[str, Any]]]) -> str:
    """The option `calls` for these, yet to be percent-encoded."""
    return "".join(name + json.dumps(arguments, separators=(",", ":")) for name, arguments in calls)


def short_name(model: str) -> str:
    return model.removeprefix("openai/")


@lru_cache(maxsize=4096)
def behaviour_of(model: str, default: str = "") -> Behaviour:
    """Read `name?option=value&flag`; raise `UnknownOptionError` on an option that does not exist."""
    given = dict(_options(default)) | dict(_options(short_name(model).partition("?")[2]))
    if "fail_times" in given and not given.keys() & (set(_FAULTS) - {"fail_times"}):
        given["status"] = 500
    return Behaviour(**given)  # type: ignore[arg-type]


def _options(query: str) -> list[tuple[str, object]]:
    return [_option(*part.partition("=")[::2]) for part in query.split("&") if part]


def _option(name: str, value: str) -> tuple[str, object]:
    kind = _TYPES.get(name)
    if kind is None:
        raise UnknownOptionError(f"no such option: {name}")
    if not value:
        return name, 80 if name == "echo" else _FLAG[kind]
    try:
        return name, _converted(kind, unquote(value))
    except ValueError as problem:
        raise UnknownOptionError(f"{name}={value}: {problem}") from problem


def _converted(kind: object, value: str) -> object:
    if kind is str:
        return value
    if kind is bool:
        return value not in {"0", "false"}
    return float(value) if kind is float else int(value)


@lru_cache(maxsize=4096)
def reply_tokens(model: str, ordinal: int = 0, default: str = "", *, healed: bool = False) -> tuple[str, ...]:
    """The words of a model's reply to its `ordinal`-th request, counted from 0; `echo` and `endless` aside.

    One that is `healed` says something even if its name asks for silence.
    """
    behaviour = behaviour_of(model, default)
    if behaviour.empty and not healed:
        return ()
    if behaviour.whitespace and not healed:
        return (" ", "\n", "\t")
    if behaviour.reply:
        return tuple(_WORD.findall(behaviour.reply))
    seed = zlib.crc32(f"{short_name(model)}#{ordinal % VARIANTS}".encode())
    words = random.Random(seed).choices(_UNICODE_WORDS if behaviour.unicode else _WORDS, k=behaviour.tokens)
    return tuple(_dressed(word, behaviour, first=place == 0) for place, word in enumerate(words))


def _dressed(word: str, behaviour: Behaviour, *, first: bool) -> str:
    word = word.ljust(behaviour.token_bytes, "x") if first else " " + word.ljust(behaviour.token_bytes - 1, "x")
    return word + "\0" * behaviour.nul + "\ud83d!" * behaviour.surrogates


def reply_text(model: str, ordinal: int = 0, default: str = "") -> str:
    """What a client should make of that reply: without NULs, lone surrogates replaced."""
    text = "".join(reply_tokens(model, ordinal, default))
    return text.replace("\0", "").replace("\ud83d", "\ufffd")
