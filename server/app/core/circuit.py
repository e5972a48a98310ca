"""Asking an accelerator that may be gone or frozen, without anybody waiting for it."""

import asyncio
from collections.abc import Awaitable
from time import monotonic
from typing import TypeVar

import structlog

from app.core.cache import CACHE_ERRORS

log = structlog.stdlib.get_logger(__name__)
T = TypeVar("T")


class Circuit:
    """A question takes at most `seconds`; after one that failed, none is asked for `rest_seconds`."""

    def __init__(self, name: str, *, seconds: float, rest_seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._rest_seconds = rest_seconds
        self._open_until = 0.0

    @property
    def is_open(self) -> bool:
        return monotonic() < self._open_until

    async def ask(self, question: Awaitable[T]) -> T | None:
        """The answer, None if there is none in time. Ask only while the circuit `is_open` is not true."""
        try:
            async with asyncio.timeout(self._seconds):
                return await question
        except CACHE_ERRORS as error:
            # Requests that asked at the same time fail together; one line is enough.
            if not self.is_open:
                log.warning("cache_left_alone", of=self._name, reason=type(error).__name__)
            self._open_until = monotonic() + self._rest_seconds
            return None
