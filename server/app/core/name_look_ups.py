"""Looking names up without letting slow name servers keep others' names waiting.

Always holds: a look-up that is given up still has its thread, since nothing can take it out of `getaddrinfo`; so a
host, and the names of one domain together, have only so many at once, and a host that has not been found for a while is
not looked up again for another while. Whoever asks for a host that is just being looked up waits for that same answer.
"""

import asyncio
import socket
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import Any

SLOW_AFTER_SECONDS = 2.0
REMEMBERED_SECONDS = 30.0
THREADS = 32
MOST_PER_HOST = 2
# A domain's owner makes up as many hosts as they like.
MOST_PER_DOMAIN = 8

Found = list[tuple[Any, ...]]
"""As `socket.getaddrinfo` gives it."""


class NotFoundInTime(OSError):
    """The name servers are known not to answer for that host, or there are too many others to look up."""


class NameLookUps:
    """Use it from one event loop. Look-ups have threads of their own, so that they take none from others' work."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="outgoing")
        self._shared: dict[tuple[str, int], asyncio.Future[Found]] = {}
        self._per_host: Counter[str] = Counter()
        self._per_domain: Counter[str] = Counter()
        self._slow_until: dict[str, float] = {}

    async def find(self, host: str, port: int, family: int) -> Found:
        """What the machine's resolver says; raise OSError if nothing, `NotFoundInTime` at once if it would take long.

        It takes as long as it takes: time-outs are the caller's.
        """
        key = (host.rstrip(".").lower(), family)
        shared = self._shared.get(key) or self._begin(key, host, port)
        # Others may wait for it too.
        return await asyncio.shield(shared)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self, key: tuple[str, int], host: str, port: int) -> asyncio.Future[Found]:
        name, family = key
        self._refuse_slow(name)
        asked = self._threads.submit(partial(_look_up, monotonic() + SLOW_AFTER_SECONDS, host, port, family))
        found = asyncio.wrap_future(asked)
        self._shared[key] = found
        self._per_host[name] += 1
        self._per_domain[_domain(name)] += 1
        timer = asyncio.get_running_loop().call_later(SLOW_AFTER_SECONDS, self._is_slow, key, asked)
        found.add_done_callback(lambda ended: self._ended(key, ended, timer))
        return found

    def _refuse_slow(self, name: str) -> None:
        if (
            self._slow_until.get(name, 0.0) > monotonic()
            or self._per_host[name] >= MOST_PER_HOST
            or self._per_domain[_domain(name)] >= MOST_PER_DOMAIN
        ):
            raise NotFoundInTime(f"the name servers do not answer for {name} in time")

    def _is_slow(self, key: tuple[str, int], asked: Future[Found]) -> None:
        """Who waits goes on waiting; nobody joins them."""
        if not asked.running():
            return
        now = monotonic()
        self._slow_until = {name: until for name, until in self._slow_until.items() if until > now}
        self._slow_until[key[0]] = now + REMEMBERED_SECONDS
        self._shared.pop(key, None)

    def _ended(self, key: tuple[str, int], found: asyncio.Future[Found], timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        name, _family = key
        if self._shared.get(key) is found:
            del self._shared[key]
        for counter, counted in ((self._per_host, name), (self._per_domain, _domain(name))):
            counter[counted] -= 1
            if not counter[counted]:
                del counter[counted]
        if not found.cancelled() and found.exception() is None:
            self._slow_until.pop(name, None)


def _look_up(begin_before: float, host: str, port: int, family: int) -> Found:
    """Nobody waits any more for what had to wait too long for its thread."""
    if monotonic() > begin_before:
        raise NotFoundInTime(f"{host} could not be looked up in time: too many other names are slow")
    return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)


def _domain(name: str) -> str:
    """The last two labels; where a registry sells names below those, their owners share the number."""
    return ".".join(name.split(".")[-2:])
