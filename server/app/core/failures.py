"""How often something failed lately, and how long whoever tries it again has to wait: in Valkey, or here without it.

An attempt is counted as a failure when it begins, and taken back when it succeeds: guesses made all at once are counted
as surely as those made one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic

from cachetools import TTLCache
from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from app.core.circuit import Circuit

PREFIX = "arena:failures"
ASK_SECONDS, REST_SECONDS = 0.2, 1.0
STRICTER = 2
"""Without Valkey each process counts for itself, and lets pass this part of what it would."""
_MOST_DOUBLINGS = 20

_BEGIN = """
local left = 0
for i = 1, #KEYS do
    left = math.max(left, redis.call('PTTL', KEYS[i] .. ':wait'))
end
if left > 0 then return left end
for i = 1, #KEYS do
    local free, window, longest = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
    local count = redis.call('INCR', KEYS[i])
    redis.call('PEXPIRE', KEYS[i], window)
    if count > free then
        local wait = math.min(longest, 1000 * 2 ^ math.min(count - free - 1, 20))
        redis.call('SET', KEYS[i] .. ':wait', 1, 'PX', math.floor(wait))
    end
end
return 0
"""
_TAKE_BACK = """
for i = 1, #KEYS do
    if ARGV[i] == '1' then
        redis.call('DEL', KEYS[i], KEYS[i] .. ':wait')
    else
        if redis.call('DECR', KEYS[i]) <= 0 then redis.call('DEL', KEYS[i]) end
        redis.call('DEL', KEYS[i] .. ':wait')
    end
end
return 0
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """What failures are counted of: after `free` of them each further one has to wait twice as long, from a second on.

    They are forgotten when none came for `window_seconds`. `is_cleared` by a success; else that only takes back itself.
    """

    name: str
    free: int
    window_seconds: float
    longest_seconds: float
    is_cleared: bool = False

    @property
    def key(self) -> str:
        return f"{PREFIX}:{self.name}"


class Failures:
    """Counts for all processes together."""

    def __init__(self, cache: Redis) -> None:
        self._begin: AsyncScript = cache.register_script(_BEGIN)
        self._take_back: AsyncScript = cache.register_script(_TAKE_BACK)
        self._cache = cache
        self._circuit = Circuit("failures", seconds=ASK_SECONDS, rest_seconds=REST_SECONDS)
        self._here = _FailuresHere()

    async def begin(self, counted: Sequence[Counted]) -> float:
        """Count an attempt and give 0, or the seconds that it has to wait for, and then it does not count."""
        if not self._circuit.is_open:
            values = [
                number
                for one in counted
                for number in (one.free, int(one.window_seconds * 1000), int(one.longest_seconds * 1000))
            ]
            left = await self._circuit.ask(self._begin([one.key for one in counted], values))
            if left is not None:
                return int(left) / 1000
        return self._here.begin(counted)

    async def take_back(self, counted: Sequence[Counted]) -> None:
        """The attempt was none that failed, which clears what a success clears."""
        self._here.take_back(counted)
        if not self._circuit.is_open:
            values = [int(one.is_cleared) for one in counted]
            await self._circuit.ask(self._take_back([one.key for one in counted], values))

    async def undo(self, counted: Sequence[Counted]) -> None:
        """The attempt was none at all: what failed before it still counts."""
        await self.take_back([replace(one, is_cleared=False) for one in counted])

    async def remember(self, name: str, seconds: float) -> None:
        """Keep in mind that there is such a thing."""
        if not self._circuit.is_open:
            await self._circuit.ask(self._cache.set(f"{PREFIX}:{name}", 1, px=int(seconds * 1000)))

    async def remembers(self, name: str) -> bool:
        if self._circuit.is_open:
            return False
        return bool(await self._circuit.ask(self._cache.exists(f"{PREFIX}:{name}")))


class _FailuresHere:
    """The same, of this process and stricter."""

    def __init__(self) -> None:
        self._counts: TTLCache[str, int] = TTLCache(maxsize=100_000, ttl=900)
        self._waits: TTLCache[str, float] = TTLCache(maxsize=100_000, ttl=900)

    def begin(self, counted: Sequence[Counted]) -> float:
        now = monotonic()
        left = max(self._waits.get(one.key, now) - now for one in counted)
        if left > 0:
            return left
        for one in counted:
            count = self._counts[one.key] = self._counts.get(one.key, 0) + 1
            over = count - max(1, one.free // STRICTER)
            if over > 0:
                self._waits[one.key] = now + min(one.longest_seconds, 2 ** min(over - 1, _MOST_DOUBLINGS))
        return 0.0

    def take_back(self, counted: Sequence[Counted]) -> None:
        for one in counted:
            self._waits.pop(one.key, None)
            left = 0 if one.is_cleared else self._counts.pop(one.key, 0) - 1
            self._counts.pop(one.key, None)
            if left > 0:
                self._counts[one.key] = left
