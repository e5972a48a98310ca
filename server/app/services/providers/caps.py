"""How many calls of one provider may be under way at once, and begin within a minute, over all processes together.

Always holds, while Valkey answers: no call begins while `concurrency` others hold a slot, and never more than
`per_minute` begin in any 60 seconds. A slot is leased: a process that dies leaves it for `LEASE_SECONDS`, one that
lives renews it however long the reply takes, and one that was suspended meanwhile takes it anew. Time is Valkey's own,
so the clocks of the machines do not matter; entries that a clock set back has left in the future are dropped.

Calls begin in the order in which they came, so that none starves however many wait. One that finds no room waits at
most `wait_seconds`, then raises `ModelBusy`; it asks again every few seconds, oftener as its turn comes near, and one
that does not any more, since its process died, loses its place.

Without Valkey each process keeps to the same numbers for itself, so that with n of them up to n times as many calls
run: better than none. A Valkey that comes back empty learns of the calls under way when their leases are renewed.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import structlog
from redis.asyncio import Redis

from app.core.cache import CACHE_ERRORS
from app.services.providers.base import ModelBusy

log = structlog.stdlib.get_logger(__name__)

LEASE_SECONDS = 10.0
RENEW_SECONDS = 3.0
WINDOW_SECONDS = 60.0
LEAST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
PATIENCE_SECONDS = 5.0
MOST_QUESTIONS = 8  # to Valkey at once: its pool of connections is bounded, and the live text needs them too
ALONE_SECONDS = 1.0  # before a Valkey that did not answer is asked again: each question may take its time-out

# KEYS: slots, begun, waiting, asking. ARGV: the call, most at once (0: any), lease in ms, most a window (0: any),
# window in ms, and after how many ms whoever does not ask again has lost its place.
# Returns {0, 0} if the call may begin, else how many begin before it, counted from 1, and the milliseconds until the
# window has room for it (0: it is the slots that are taken).
_ACQUIRE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local slots, lease = tonumber(ARGV[2]), tonumber(ARGV[3])
local starts, window, patience = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
for _, range in ipairs({{'-inf', now}, {now + patience + 1, '+inf'}}) do
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], range[1], range[2])) do
    redis.call('ZREM', KEYS[3], gone)
    redis.call('ZREM', KEYS[4], gone)
  end
end
redis.call('ZADD', KEYS[3], 'NX', now + (time[2] % 1000) / 1000, ARGV[1])
local first = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
while first ~= ARGV[1] and not redis.call('ZSCORE', KEYS[4], first) do
  redis.call('ZREM', KEYS[3], first)
  first = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
end
local before = redis.call('ZRANK', KEYS[3], ARGV[1])
local free, room_in = math.huge, 0
if slots > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
  redis.call('ZREMRANGEBYSCORE', KEYS[1], now + lease + 1, '+inf')
  free = slots - redis.call('ZCARD', KEYS[1])
end
if starts > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - window)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], now + 1, '+inf')
  local begun = redis.call('ZCARD', KEYS[2])
  if before >= starts - begun then
    local needed = before - (starts - begun)
    local oldest = redis.call('ZRANGE', KEYS[2], needed % starts, needed % starts, 'WITHSCORES')[2]
    room_in = math.max(1, (oldest or now) + window * (1 + math.floor(needed / starts)) - now)
  end
end
if before < free and room_in == 0 then
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('ZREM', KEYS[4], ARGV[1])
  if starts > 0 then
    redis.call('ZADD', KEYS[2], now, ARGV[1])
    redis.call('PEXPIRE', KEYS[2], window)
  end
  if slots > 0 then
    redis.call('ZADD', KEYS[1], now + lease, ARGV[1])
    redis.call('PEXPIRE', KEYS[1], lease)
  end
  return {0, 0}
end
redis.call('ZADD', KEYS[4], now + patience, ARGV[1])
redis.call('PEXPIRE', KEYS[3], patience)
redis.call('PEXPIRE', KEYS[4], patience)
return {before + 1, room_in}
"""
# KEYS: slots, begun, waiting, asking. ARGV: the call, which is not made, also if the answer that it may begin was lost.
_LEAVE = "for _, key in ipairs(KEYS) do redis.call('ZREM', key, ARGV[1]) end return 0"
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


SOMEWHERE = 10
"""Among those that wait, where nobody keeps the order."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Of a call among those that wait, the first being 1; in how many seconds the window has room, 0 if it has now."""

    number: int
    room_in: float


class Caps:
    """The caps of one provider as one process keeps to them; None: no such cap. Without a cap nothing is asked."""

    def __init__(
        self,
        provider: str,
        cache: Redis | None,
        *,
        concurrency: int | None = None,
        per_minute: int | None = None,
        wait_seconds: float = 1800.0,
        lease_seconds: float = LEASE_SECONDS,
        window_seconds: float = WINDOW_SECONDS,
        setting: str = "ARENA_OPENAI",
    ) -> None:
        """`setting` is how the names of the settings begin that the caps come from."""
        self._provider = provider
        self._setting = setting
        self._cache = cache
        self._concurrency = concurrency or 0
        self._per_window = per_minute or 0
        self._wait_seconds = wait_seconds
        self._lease_seconds = lease_seconds
        self._window_seconds = window_seconds
        self._keys = [f"arena:{{model:{provider}}}:{name}" for name in ("slots", "begun", "waiting", "asking")]
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
        try:
            while (place := await self._acquire(call)) is not None:
                if now() + place.room_in >= give_up_at:
                    raise self._busy(place.room_in)
                # The nearer its turn, the sooner it asks again.
                pause = max(LEAST_PAUSE_SECONDS * max(place.number / (self._concurrency or 1), 1), place.room_in)
                jitter = random.uniform(0.8, 1.2)  # noqa: S311 - no secret
                await asyncio.sleep(min(min(pause, LONGEST_PAUSE_SECONDS) * jitter, give_up_at - now()))
        except (ModelBusy, asyncio.CancelledError):
            await self._ask(_LEAVE, call)
            raise

    async def _acquire(self, call: str) -> _Place | None:
        """None if the call may begin, else its place among those that wait."""
        lease, window, patience = (
            int(seconds * 1000) for seconds in (self._lease_seconds, self._window_seconds, PATIENCE_SECONDS)
        )
        answer = await self._ask(_ACQUIRE, call, self._concurrency, lease, self._per_window, window, patience)
        if answer is None:
            return self._acquire_alone()
        place, room_in = answer
        if place == 0:
            self._begin()
            return None
        return _Place(place, room_in / 1000)

    def _acquire_alone(self) -> _Place | None:
        if self._concurrency and self._under_way >= self._concurrency:
            return _Place(SOMEWHERE, 0.0)
        if self._per_window and len(self._begun) == self._per_window:
            room_in = self._begun[0] + self._window_seconds - asyncio.get_running_loop().time()
            if room_in > 0:
                return _Place(SOMEWHERE, room_in)
        self._begin()
        return None

    def _begin(self) -> None:
        if self._per_window:
            self._begun.append(asyncio.get_running_loop().time())

    async def _keep(self, call: str) -> None:
        """Renew the lease until cancelled."""
        while True:
            await asyncio.sleep(self._lease_seconds * RENEW_SECONDS / LEASE_SECONDS)
            await self._ask(_RENEW, call, int(self._lease_seconds * 1000))

    async def _ask(self, script: str, *arguments: str | int) -> Any:
        """Run the script; None without Valkey. A slot that is not given back, or not renewed in time, lapses."""
        if self._cache is None:
            return None
        now = asyncio.get_running_loop().time
        async with self._questions:
            if now() < self._alone_until:
                return None
            try:
                answer = await self._cache.register_script(script)(keys=self._keys, args=arguments)
            except CACHE_ERRORS as error:
                self._note_alone(type(error).__name__)
                self._alone_until = now() + ALONE_SECONDS
                return None
            self._alone = False
            return answer

    def _busy(self, room_in: float) -> ModelBusy:
        if room_in > 0:
            why = f"more than {self._per_window} calls a minute, as {self._setting}_REQUESTS_PER_MINUTE allows"
        else:
            why = f"more than {self._concurrency} calls at once, as {self._setting}_CONCURRENCY allows"
        return ModelBusy(f"{self._provider} is asked for {why}", retry_after_seconds=room_in or LEAST_PAUSE_SECONDS)

    def _note_alone(self, reason: str) -> None:
        if not self._alone:
            log.warning("model_caps_not_shared", provider=self._provider, reason=reason)
        self._alone = True
