"""Bytes as text: a byte order mark, else UTF-8, else what was declared, else what the bytes look like."""

import codecs
import re

from app.services.knowledge.parsing.errors import WrongEncoding
from app.services.knowledge.parsing.western import LATIN, latin_encoding_of

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What the web and files of this century are in. Others are told apart too badly to be guessed.
_GUESSED = [
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8_r", "iso8859_2",
    "shift_jis", "euc_jp", "iso2022_jp", "gb18030", "big5", "euc_kr", "utf_16_le", "utf_16_be",
]  # fmt: skip
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
_CONTROLS = bytes([*range(1, 9), *range(0x0E, 0x1B), *range(0x1C, 0x20)])
MOST_CONTROLS = 0.01
SAMPLE_BYTES = 64 * 1024


def has_mark(content: bytes) -> bool:
    """Whether the content begins with a byte order mark."""
    return content.startswith(tuple(mark for mark, _ in _MARKS))


def looks_like_text(content: bytes) -> bool:
    """Whether the content can be text at all; UTF-16 without a mark can, other bytes with zeros among them cannot."""
    if has_mark(content) or _wide(content[:SAMPLE_BYTES]) is not None:
        return True
    controls = len(content) - len(content.translate(None, _CONTROLS))
    return b"\x00" not in content and controls <= len(content) * MOST_CONTROLS


def decode(content: bytes, declared: str | None) -> str:
    """The text, its byte order mark left out; raise `WrongEncoding`."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _marked(content, encoding)
    if wide := _wide(content[:SAMPLE_BYTES]):
        return content[: len(content) // 2 * 2].decode(wide, "replace")
    try:
        return content.decode()
    except UnicodeDecodeError:
        return _nearly_utf8(content) or _declared(content, declared) or _guessed(content)


def _marked(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise _wrong(f"it begins as {encoding.removesuffix('-sig').upper()} and goes on as something else") from None


def _wide(sample: bytes) -> str | None:
    """UTF-16 without a mark: line feeds and blanks, or Latin letters, have their zero bytes all on one side."""
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if not even and not odd:
        return None
    encoding = "utf-16-le" if odd > even else "utf-16-be"
    if min(even, odd) > max(even, odd) // 20:
        return None
    try:
        text = sample[: len(sample) // 4 * 4].decode(encoding, "strict")
    except UnicodeDecodeError:
        return None
    odd_ones = sum(not (character.isprintable() or character in "\t\n\r\f") for character in text)
    return encoding if odd_ones * 50 <= len(text) else None


def _nearly_utf8(content: bytes) -> str | None:
    """UTF-8 with a few broken places, such as one cut at its end; not an older encoding that happens to fit."""
    text = content.decode(errors="replace")
    broken = text.count("\ufffd")
    beyond_ascii = len(text) - sum(map(text.count, map(chr, range(128)))) - broken
    return text if broken * 10 <= beyond_ascii else None


def _declared(content: bytes, declared: str | None) -> str | None:
    said = _CHARSET.search(declared or "")
    meta = _META.search(content[:4096])
    for name in (said and said[1], meta and meta[1].decode()):
        try:
            if name:
                return str(content.decode(name))
        except (LookupError, UnicodeError):
            continue
    return None


def _guessed(content: bytes) -> str:
    from charset_normalizer import from_bytes  # noqa: PLC0415 - most files never need it, and each waits for it

    best = from_bytes(content[:SAMPLE_BYTES], cp_isolation=_GUESSED, steps=10).best()
    if best is None:
        raise _wrong("it is in none that is known here")
    if LATIN & {best.encoding, *best.could_be_from_charset}:
        return content.decode(latin_encoding_of(content[:SAMPLE_BYTES]), "replace")
    return content.decode(best.encoding, "replace")


def _wrong(why: str) -> WrongEncoding:
    return WrongEncoding(f"the text's encoding cannot be told: {why}; save the file as UTF-8 and upload it again")
