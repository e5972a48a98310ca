"""The time within a token: written by the fake model as it sends it, read by viewers out of whatever brings it.

A stamp is ` @` and twelve digits, the microseconds of the monotonic clock, which is the same for every process of a
Linux machine. It stays plain ASCII through JSON, and several in one piece of text are several samples.
"""

import re
import time
from collections.abc import Iterable, Iterator

WRAP = 10**12
TOKEN = b" @%012d"
_DIGITS = 12
_STAMP = re.compile(rb"@(\d{12})")
_TEXT = re.compile(rb'"text":"([ @0-9]*)"')
_CONTENT = re.compile(rb'"content":"([ @0-9]*)"')

Read = tuple[float, bytes]
"""When something was read (`time.monotonic`), and what."""


def now() -> int:
    """The stamp of this moment."""
    return time.monotonic_ns() // 1000 % WRAP


def delays_ms(reads: Iterable[Read]) -> Iterator[float]:
    """Milliseconds from the writing of each stamp to the read that completed it."""
    rest = b""
    for at, data in reads:
        read_at = int(at * 1_000_000)
        joined = rest + data
        for stamp in _STAMP.findall(joined):
            yield (read_at - int(stamp)) % WRAP / 1000
        begun = joined.rfind(b"@", -_DIGITS)
        rest = joined[begun:] if begun >= 0 else b""


def shown_and_kept(stream: bytes) -> tuple[bytes, bytes]:
    """The text of all deltas of a stream, and of all messages that it completes; of stamped messages only."""
    return b"".join(_TEXT.findall(stream)), b"".join(_CONTENT.findall(stream))
