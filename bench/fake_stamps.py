"""Stamped replies: many streams at one pace, on one timer, so that a thousand of them cost little but their writes.

A metronome beats for all streams of one pace. Its period is cut into slots, and a stream that comes gets the emptiest,
so that the streams' phases are spread evenly. Streams of one slot are written at the same moment.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from bench import stamps

SLOT_SECONDS = 0.002
_CATCH_UP_SECONDS = 1.0


class Client(Protocol):
    """Whom a reply is written to."""

    @property
    def is_gone(self) -> bool: ...

    @property
    def is_full(self) -> bool:
        """Whether it reads more slowly than it is written to."""

    def write(self, data: bytes) -> None: ...

    def end_reply(self) -> None: ...


class StampedReply:
    """One reply: `begin`, then a token at every beat, then what `end` makes of their number."""

    def __init__(self, begin: bytes, token: Callable[[int], bytes], end: Callable[[int], bytes], most: float) -> None:
        self._begin = begin
        self._token = token
        self._end = end
        self._left = most
        self._client: Client | None = None
        self.said = 0

    def begin(self, client: Client) -> None:
        self._client = client
        client.write(self._begin)

    def finish(self) -> None:
        """End at the next beat."""
        self._left = 0

    @property
    def is_over(self) -> bool:
        return self._client is None or self._client.is_gone

    def beat(self, stamp: int) -> bool:
        """Say the next token, or end if there is none; False if it said none. A client that is full gets nothing."""
        client = self._client
        if client is None or client.is_gone:
            return False
        if self._left <= 0:
            client.write(self._end(self.said))
            client.end_reply()
            self._client = None
            return False
        if client.is_full:
            return False
        client.write(self._token(stamp))
        self.said += 1
        self._left -= 1
        return True


class Metronome:
    """Beats every `period_seconds` for each of its replies, at even distances between them."""

    def __init__(self, period_seconds: float) -> None:
        count = max(1, round(period_seconds / SLOT_SECONDS))
        self._slots: list[list[StampedReply]] = [[] for _ in range(count)]
        self._slot_seconds = period_seconds / count
        self._next = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self.beats = 0

    def add(self, reply: StampedReply) -> None:
        min(self._slots, key=len).append(reply)

    def go(self) -> None:
        """Beat as long as there are replies."""
        if self._timer is None:
            self._due = self._loop.time()
            self._wait()

    def finish(self) -> None:
        for slot in self._slots:
            for reply in slot:
                reply.finish()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self._due += self._slot_seconds
        self._timer = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        """Play what is due; the pace is kept from the start, so it does not drift."""
        self._timer = None
        now = self._loop.time()
        self._due = max(self._due, now - _CATCH_UP_SECONDS)
        self._play()
        while self._due + self._slot_seconds <= now:
            self._due += self._slot_seconds
            self._play()
        if any(self._slots):
            self._wait()

    def _play(self) -> None:
        slot = self._slots[self._next]
        self._next = (self._next + 1) % len(self._slots)
        if slot:
            stamp = stamps.now()
            said = sum([reply.beat(stamp) for reply in slot])
            self.beats += said
            if said < len(slot):
                slot[:] = [reply for reply in slot if not reply.is_over]


class Metronomes:
    """One for each pace. Those that do not beat yet can be held, so that many replies begin at one moment."""

    def __init__(self) -> None:
        self._by_period: dict[float, Metronome] = {}
        self._is_held = False

    @property
    def beats(self) -> int:
        """Tokens said so far."""
        return sum(metronome.beats for metronome in self._by_period.values())

    def add(self, period_seconds: float, reply: StampedReply) -> None:
        if period_seconds not in self._by_period:
            self._by_period[period_seconds] = Metronome(period_seconds)
        self._by_period[period_seconds].add(reply)
        if not self._is_held:
            self._by_period[period_seconds].go()

    def hold(self) -> None:
        """Let replies wait for `go` before their first token."""
        self._is_held = True

    def go(self) -> None:
        self._is_held = False
        for metronome in self._by_period.values():
            metronome.go()

    def finish(self) -> None:
        """End every reply at its next beat."""
        for metronome in self._by_period.values():
            metronome.finish()

    def stop(self) -> None:
        for metronome in self._by_period.values():
            metronome.stop()
