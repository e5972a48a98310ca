"""Rate limits in Valkey: a sliding window counter for each of a request's limits, all of them asked in one call.

The algorithm is that of `limits`: its own scripts, put together into one, so that a request costs one round trip
whatever it is counted against. A request that one of its limits refuses is counted against none of them: who asks too
much does not use up what others share with them. What was refused is remembered here until it may be tried again, and
costs no round trip then. Without Valkey nothing is limited (`core/circuit.py`): reads fail open, and what must not has
a limit of its own (`services/login_throttle.py`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1
from time import monotonic
from typing import Any

from cachetools import TTLCache
from limits import RateLimitItemPerMinute
from limits.aio.storage.redis.bridge import RedisBridge
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from app.core.circuit import Circuit

WINDOW_SECONDS = RateLimitItemPerMinute(1).get_expiry()
PREFIX = "arena:limits"
ASK_SECONDS, REST_SECONDS = 0.25, 1.0
"""Long enough for an event loop that is late itself: just then limits are needed."""
_REMEMBERED_SECONDS = 1.0

_SCRIPT = f"""
local function acquire(KEYS, ARGV)
{RedisBridge.SCRIPT_ACQUIRE_SLIDING_WINDOW.decode()}
end
local function look(KEYS, ARGV)
{RedisBridge.SCRIPT_SLIDING_WINDOW.decode()}
end
local window = tonumber(ARGV[1])
local seen, may = {{}}, 1
for i = 1, #KEYS / 2 do
    local found = look({{KEYS[2 * i - 1], KEYS[2 * i]}}, {{ARGV[1]}})
    local before, before_ms = tonumber(found[1]) or 0, math.max(tonumber(found[2]) or 0, 0)
    local now, now_ms = tonumber(found[3]) or 0, math.max(tonumber(found[4]) or 0, 0)
    seen[i] = {{before, before_ms, now, now_ms}}
    if math.floor(before * before_ms / (window * 1000)) + now + 1 > tonumber(ARGV[1 + i]) then
        may = 0
    end
end
if may == 1 then
    for i = 1, #KEYS / 2 do
        acquire({{KEYS[2 * i - 1], KEYS[2 * i]}}, {{ARGV[1 + i], ARGV[1], 1}})
        seen[i][3] = seen[i][3] + 1
    end
end
return {{may, seen}}
"""
_SHA = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests a minute of `whose`; `name` is what its policy is called."""

    name: str
    whose: str
    per_minute: int

    @property
    def key(self) -> str:
        return RateLimitItemPerMinute(self.per_minute, namespace=self.name).key_for(self.whose)

    @property
    def policy(self) -> str:
        return f'"{self.name}";q={self.per_minute};w={WINDOW_SECONDS}'


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may go on, and what is left of the limit that is nearest."""

    may: bool
    nearest: Limit
    remaining: int
    reset_seconds: int

    @property
    def state(self) -> str:
        return f'"{self.nearest.name}";r={self.remaining};t={self.reset_seconds}'


class RateLimiter:
    """Counts requests of all processes together."""

    def __init__(self, cache: Redis) -> None:
        self._cache = cache
        self._circuit = Circuit("rate limits", seconds=ASK_SECONDS, rest_seconds=REST_SECONDS)
        self._refused: TTLCache[Limit, tuple[Verdict, float]] = TTLCache(maxsize=10_000, ttl=_REMEMBERED_SECONDS)

    def recall(self, limit: Limit) -> Verdict | None:
        """That the limit refused a moment ago, and will still."""
        known = self._refused.get(limit)
        return known[0] if known is not None and known[1] > monotonic() else None

    async def hit(self, limits: Sequence[Limit]) -> Verdict | None:
        """Count a request against all of the limits, or none if one has no room; None: nobody could be asked."""
        for limit in limits:
            if (known := self.recall(limit)) is not None:
                return known
        if self._circuit.is_open:
            return None
        answer = await self._circuit.ask(self._ask(limits))
        if answer is None:
            return None
        verdict = _verdict(limits, bool(answer[0]), answer[1])
        if not verdict.may:
            self._refused[verdict.nearest] = (verdict, monotonic() + min(verdict.reset_seconds, _REMEMBERED_SECONDS))
        return verdict

    async def _ask(self, limits: Sequence[Limit]) -> Any:
        keys = []
        for limit in limits:
            name = f"{PREFIX}:{limit.key}"
            keys += [f"{name}/-1", name]
        values = [WINDOW_SECONDS, *(limit.per_minute for limit in limits)]
        try:
            return await self._cache.evalsha(_SHA, len(keys), *keys, *values)
        except NoScriptError:
            return await self._cache.eval(_SCRIPT, len(keys), *keys, *values)


def _verdict(limits: Sequence[Limit], may: bool, counts: Sequence[Sequence[int]]) -> Verdict:
    """Of the limit that has least left, or that refused."""
    found = [(_remaining(limit, count), limit, count) for limit, count in zip(limits, counts, strict=True)]
    remaining, nearest, count = min(found, key=lambda one: one[0] / one[1].per_minute)
    return Verdict(may, nearest, max(0, remaining), _reset_seconds(nearest, count))


def _remaining(limit: Limit, count: Sequence[int]) -> int:
    before, before_ms, now, _now_ms = count
    return limit.per_minute - math.floor(before * before_ms / (WINDOW_SECONDS * 1000)) - now


def _reset_seconds(limit: Limit, count: Sequence[int]) -> int:
    """When there is room for one more: as the window before slides out, or, without one, as this one becomes it."""
    before, before_ms, now, now_ms = count
    excess = math.floor(before * before_ms / (WINDOW_SECONDS * 1000)) + now + 1 - limit.per_minute
    if before and excess <= before * before_ms / (WINDOW_SECONDS * 1000):
        per_request_ms = WINDOW_SECONDS * 1000 / before
        return max(1, math.ceil(per_request_ms * max(1, excess) / 1000))
    # The current window becomes the one before at half of its life, and slides out from then on.
    until_shift_ms = max(0, now_ms - WINDOW_SECONDS * 1000)
    return max(1, math.ceil((until_shift_ms + WINDOW_SECONDS * 1000 / max(1, now)) / 1000))
