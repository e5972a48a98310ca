"""Replay: recorded exchanges played back, offline and the same every time.

A request is answered by the first recorded exchange of an equal request (messages and parameters; the model's name does
not count) that came to a good end, and if none did by the first that failed, with the same error. That is decided by
the request alone: any process, after any restart, gives the same reply, and a recorded fault that a retry got over does
not stand in the way of the reply that followed.
"""

import asyncio
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import orjson
import structlog
from cachetools import LRUCache

from app.services.providers.base import ChatRequest, Finished, ModelError, ModelNotFound, TextDelta
from app.services.providers.exchange import Exchange, ExchangeUnreadable, key_of, read_exchange, request_fields

log = structlog.stdlib.get_logger(__name__)

MOST_KEPT_RECORDINGS = 16
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


class ReplayMissing(ModelError):
    """The recording does not hold this request."""

    code = "replay_missing"
    retryable = False


@dataclass(frozen=True, slots=True)
class _Recording:
    stamp: tuple[int, int]  # of the file when it was read
    exchanges: dict[bytes, Exchange]


class Recordings:
    """The recordings of one folder; each is read again when its file has changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: LRUCache[str, _Recording] = LRUCache(MOST_KEPT_RECORDINGS)

    def find(self, name: str) -> Path | None:
        """The file of that name, None if there is none or it is no name of a recording."""
        path = self.folder / f"{name}.jsonl"
        return path if _NAME.fullmatch(name) and path.is_file() else None

    def context_tokens(self, name: str, otherwise: int) -> int:
        """The context window of the model that was recorded, which decides how a prompt is cut."""
        path = self.find(name)
        if path is None:
            return otherwise
        try:
            with path.open("rb") as file:
                tokens = orjson.loads(file.readline()).get("context_tokens")
        except (OSError, ValueError, AttributeError):
            return otherwise
        return tokens if type(tokens) is int and tokens > 0 else otherwise

    async def exchange(self, name: str, key: bytes) -> Exchange:
        """What the recording holds for the request; raise `ModelNotFound` or `ReplayMissing`."""
        path = self.find(name)
        try:
            if path is None:
                raise FileNotFoundError
            kept = self._kept.get(name)
            if kept is None or kept.stamp != _stamp(path):
                kept = self._kept[name] = await asyncio.to_thread(_read, path)
        except OSError:
            raise ModelNotFound(f"there is no recording {name!r} in {self.folder}") from None
        exchange = kept.exchanges.get(key)
        if exchange is None:
            raise ReplayMissing(f"the recording {name!r} does not hold this request: it was made of another discussion")
        return exchange


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _read(path: Path) -> _Recording:
    stamp = _stamp(path)  # taken first: what is appended meanwhile is read the next time
    good: dict[bytes, Exchange] = {}
    failed: dict[bytes, Exchange] = {}
    unreadable = 0
    with path.open("rb") as lines:
        for line in lines:
            try:
                key, exchange = read_exchange(line)
            except ExchangeUnreadable:
                unreadable += 1
                continue
            if exchange is not None:
                (good if exchange.finished else failed).setdefault(key, exchange)
    if unreadable:
        log.warning("recording_unreadable_lines", path=str(path), lines=unreadable)
    return _Recording(stamp, {**failed, **good})


class ReplayModel:
    """A `ChatModel` whose models are recordings. `pace` 1 takes the time that was recorded, 0 none."""

    def __init__(self, recordings: Recordings, pace: float = 0.0) -> None:
        self._recordings = recordings
        self._pace = pace

    async def stream(self, request: ChatRequest) -> AsyncGenerator[TextDelta | Finished, None]:
        now = asyncio.get_running_loop().time
        began = now()
        exchange = await self._recordings.exchange(request.model, key_of(request_fields(request)))
        for at, text in exchange.deltas:
            await asyncio.sleep(began + at * self._pace - now())  # also gives way to others when it is overdue
            yield TextDelta(text)
        await asyncio.sleep(began + exchange.ends_after * self._pace - now())
        if exchange.finished is None:
            raise exchange.failure()
        yield exchange.finished

    async def close(self) -> None:
        """Nothing is open."""
