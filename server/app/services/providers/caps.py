"""How many calls of one provider may be under way at once, and begin within a minute, over all processes together.

Always holds, while Valkey answers: no call begins while `concurrency` others hold a slot, and never more than
`per_minute` begin in any 60 seconds. A slot is leased: a process that dies leaves it for `LEASE_SECONDS`, one that
lives renews it however long the reply takes, and one that was suspended meanwhile takes it anew. Time is Valkey's own,
so the clocks of the machines do not matter; entries that a clock set back has left in the future are dropped.

A call that finds no room asks again after a short pause, by chance rather than in order: over many turns all get their
share, and nobody has to be remembered. It waits at most `wait_seconds`, then raises `ModelBusy`.

Without Valkey each process keeps to the same numbers for itself, so that with n of them up to n times as many calls
run: better than none. A Valkey that comes back empty learns of the calls under way when their leases are renewed.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import structlog
from redis.asyncio import Redis

from app.core.cache import CACHE_ERRORS
from app.services.providers.base import ModelBusy

log = structlog.stdlib.get_logger(__name__)

LEASE_SECONDS = 10.0
RENEW_SECONDS = 3.0
WINDOW_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 0.5
MOST_QUESTIONS = 8  # to Valkey at once: its pool of connections is bounded, and the live text needs them too
ALONE_SECONDS = 1.0  # before a Valkey that did not answer is asked again: each question may take its time-out

# KEYS: slots, begun. ARGV: the call, most at once (0: any), lease in ms, most a window (0: any), window in ms.
# Returns 0, -1 if all slots are taken, or the milliseconds until the window has room.
_ACQUIRE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local slots, lease = tonumber(ARGV[2]), tonumber(ARGV[3])
local starts, window = tonumber(ARGV[4]), tonumber(ARGV[5])
if slots > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
  redis.call('ZREMRANGEBYSCORE', KEYS[1], now + lease + 1, '+inf')
  if redis.call('ZCARD', KEYS[1]) >= slots then return -1 end
end
if starts > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - window)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], now + 1, '+inf')
  if redis.call('ZCARD', KEYS[2]) >= starts then
    local oldest = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
    return math.max(1, oldest[2] + window - now)
  end
  redis.call('ZADD', KEYS[2], now, ARGV[1])
  redis.call('PEXPIRE', KEYS[2], window)
end
if slots > 0 then
  redis.call('ZADD', KEYS[1], now + lease, ARGV[1])
  redis.call('PEXPIRE', KEYS[1], lease)
end
return 0
"""
# KEYS: slots. ARGV: the call, lease in ms. Also takes a slot anew that was lost with Valkey's memory.
_RENEW = """
local time = redis.call('TIME')
local until_ms = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]
redis.call('ZADD', KEYS[1], until_ms, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 0
"""
# KEYS: slots. ARGV: the call.
_RELEASE = "return redis.call('ZREM', KEYS[1], ARGV[1])"


class Caps:
    """The caps of one provider as one process keeps to them; None: no such cap. Without a cap nothing is asked."""

    def __init__(
        self,
        provider: str,
        cache: Redis | None,
        *,
        concurrency: int | None = None,
        per_minute: int | None = None,
        wait_seconds: float = 120.0,
        lease_seconds: float = LEASE_SECONDS,
        window_seconds: float = WINDOW_SECONDS,
    ) -> None:
        self._provider = provider
        self._cache = cache
        self._concurrency = concurrency or 0
        self._per_window = per_minute or 0
        self._wait_seconds = wait_seconds
        self._lease_seconds = lease_seconds
        self._window_seconds = window_seconds
        self._keys = [f"arena:{{model:{provider}}}:slots", f"arena:{{model:{provider}}}:begun"]
        self._under_way = 0
        self._begun: deque[float] = deque(maxlen=self._per_window)
        self._alone = False
        self._alone_until = 0.0
        self._questions = asyncio.Semaphore(MOST_QUESTIONS)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for room, and hold the slot for the block; raise `ModelBusy` if there is none in time."""
        if not self._concurrency and not self._per_window:
            yield
            return
        call = uuid4().hex
        await self._wait_for_room(call)
        keeper = asyncio.create_task(self._keep(call)) if self._concurrency else None
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            if keeper is not None:
                keeper.cancel()
                await self._ask(_RELEASE, call)

    async def _wait_for_room(self, call: str) -> None:
        now = asyncio.get_running_loop().time
        give_up_at = now() + self._wait_seconds
        pause = FIRST_PAUSE_SECONDS
        while (room_in := await self._acquire(call)) != 0:
            least = max(room_in, 0.0)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
            if now() + least >= give_up_at:
                raise self._busy(least)
            wake_at = now() + least + pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            await asyncio.sleep(min(wake_at, give_up_at) - now())

    async def _acquire(self, call: str) -> float:
        """0 if the call may begin; the seconds until it may, or a negative number if nobody knows."""
        lease, window = _milliseconds(self._lease_seconds), _milliseconds(self._window_seconds)
        answer = await self._ask(_ACQUIRE, call, self._concurrency, lease, self._per_window, window)
        if answer is None:
            return self._acquire_alone()
        if answer == 0:
            self._begin()
        return answer / 1000

    def _acquire_alone(self) -> float:
        if self._concurrency and self._under_way >= self._concurrency:
            return -1.0
        if self._per_window and len(self._begun) == self._per_window:
            room_in = self._begun[0] + self._window_seconds - asyncio.get_running_loop().time()
            if room_in > 0:
                return room_in
        self._begin()
        return 0.0

    def _begin(self) -> None:
        if self._per_window:
            self._begun.append(asyncio.get_running_loop().time())

    async def _keep(self, call: str) -> None:
        """Renew the lease until cancelled."""
        while True:
            await asyncio.sleep(self._lease_seconds * RENEW_SECONDS / LEASE_SECONDS)
            await self._ask(_RENEW, call, _milliseconds(self._lease_seconds))

    async def _ask(self, script: str, *arguments: str | int) -> int | None:
        """Run the script; None without Valkey. A slot that is not given back, or not renewed in time, lapses."""
        if self._cache is None:
            return None
        now = asyncio.get_running_loop().time
        async with self._questions:
            if now() < self._alone_until:
                return None
            try:
                answer = int(await self._cache.register_script(script)(keys=self._keys, args=arguments))
            except CACHE_ERRORS as error:
                self._note_alone(type(error).__name__)
                self._alone_until = now() + ALONE_SECONDS
                return None
            self._alone = False
            return answer

    def _busy(self, room_in: float) -> ModelBusy:
        if room_in > 0:
            why = f"more than {self._per_window} calls a minute, as ARENA_OPENAI_REQUESTS_PER_MINUTE allows"
        else:
            why = f"more than {self._concurrency} calls at once, as ARENA_OPENAI_CONCURRENCY allows"
        return ModelBusy(f"{self._provider} is asked for {why}", retry_after_seconds=room_in or FIRST_PAUSE_SECONDS)

    def _note_alone(self, reason: str) -> None:
        if not self._alone:
            log.warning("model_caps_not_shared", provider=self._provider, reason=reason)
        self._alone = True


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
