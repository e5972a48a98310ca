"""Time-outs of one streamed reply, at the price of one timer for the whole reply."""

import asyncio
from collections.abc import Callable
from typing import Literal

from app.services.providers.base import ModelTimedOut, ModelTimeouts

Phase = Literal["connect", "first_token", "idle", "total"]
_NEVER = float("inf")
_WAITED_FOR: dict[Phase, str] = {
    "connect": "could not be reached",
    "first_token": "said nothing",  # nosec B105 - a sentence's end
    "idle": "fell silent",
    "total": "did not finish",
}


def timed_out(host: str, phase: Phase, timeouts: ModelTimeouts) -> ModelTimedOut:
    seconds = getattr(timeouts, f"{phase}_seconds")
    return ModelTimedOut(f"{host} {_WAITED_FOR[phase]} within {seconds:g} seconds", phase=phase)


class Deadline:
    """Calls `expire(phase)` once if a wait lasts too long; time between waits, when the consumer works, is free.

    A later deadline only moves a number; the timer looks at it when it fires and sets itself again.
    """

    __slots__ = ("_at", "_expire", "_loop", "_phase", "_timer", "_total_at")

    def __init__(self, total_at: float, expire: Callable[[Phase], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._expire = expire
        self._total_at = total_at
        self._phase: Phase = "total"
        self._at = _NEVER
        self._timer: asyncio.TimerHandle | None = None

    def wait_until(self, at: float, phase: Phase) -> None:
        """A wait begins or goes on; it may last until `at` by the loop's clock."""
        self._phase = phase
        self._at = at = min(at, self._total_at)
        timer = self._timer
        if timer is None or timer.when() > at:
            if timer is not None:
                timer.cancel()
            self._timer = self._loop.call_at(at, self._check)

    def rest(self) -> None:
        """No wait is going on."""
        self._at = _NEVER

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        now = self._loop.time()
        if now >= self._at:
            self._expire("total" if now >= self._total_at else self._phase)
        elif self._at < _NEVER:
            self._timer = self._loop.call_at(self._at, self._check)
