"""Requests over raw sockets, as many or as often as told: a process of its own, so that what it measures is not it.

`python -m bench.load URL...` sends `GET` to the URLs by turns, each connection one request at a time; with `--rate` so
many a second are begun whatever becomes of those before, as people do; those that find no connection free are counted
as `late`. The last line printed is one JSON object.
"""

import argparse
import asyncio
import gc
import itertools
import json
import time
from collections import Counter, deque
from typing import cast
from urllib.parse import urlsplit

import uvloop

CONNECT_SECONDS = 10.0


class Connection(asyncio.Protocol):
    """One request at a time; `load.done` is told of each answer."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._needed = 0
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes) -> None:
        assert self._transport is not None
        self._began = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        if not self._needed:
            end = received.find(b"\r\n\r\n")
            if end < 0:
                return
            at = received.find(b"content-length: ", 0, end) + 16
            assert at > 15, "an answer without a length"
            self._needed = end + 4 + int(received[at : received.find(b"\r\n", at)])
        if len(received) >= self._needed:
            status = int(received[9:12])
            self._received = bytearray()
            self._needed = 0
            self._load.done(self, status, time.perf_counter() - self._began)

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.lost(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Load:
    """What is asked, and what came of it."""

    def __init__(self, requests: list[bytes], seconds: float, rate: float) -> None:
        self._requests = itertools.cycle(requests)
        self._seconds = seconds
        self._rate = rate
        self._free: deque[Connection] = deque()
        self._is_over = False
        self._has_begun = False
        self.statuses: Counter[int] = Counter()
        self.latencies: dict[int, list[float]] = {}
        self.late = self.cut = 0

    def done(self, connection: Connection, status: int, seconds: float) -> None:
        self.statuses[status] += 1
        self.latencies.setdefault(status, []).append(seconds * 1000)
        if self._is_over:
            return
        if self._rate:
            self._free.append(connection)
        else:
            connection.ask(next(self._requests))

    def lost(self, connection: Connection) -> None:
        if not self._is_over:
            self.cut += 1

    async def run(self, host: str, port: int, connections: int) -> float:
        """Ask until the time is over; seconds that it took."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_SECONDS):
            made = [(await loop.create_connection(lambda: Connection(self), host, port))[1] for _ in range(connections)]
        began = time.perf_counter()
        if self._rate:
            self._free.extend(made)
            await self._begin_at_the_rate(began)
        else:
            for connection in made:
                connection.ask(next(self._requests))
            await asyncio.sleep(self._seconds)
        self._is_over = True
        spent = time.perf_counter() - began
        for connection in made:
            connection.close()
        return spent

    async def _begin_at_the_rate(self, began: float) -> None:
        begun = 0
        while (passed := time.perf_counter() - began) < self._seconds:
            due = int(passed * self._rate)
            while begun < due:
                begun += 1
                if self._free:
                    self._free.popleft().ask(next(self._requests))
                else:
                    self.late += 1
            await asyncio.sleep(max(0.0, (begun + 1) / self._rate - (time.perf_counter() - began)))


def request_for(url: str, token: str | None) -> bytes:
    where = urlsplit(url)
    target = where.path + (f"?{where.query}" if where.query else "")
    credentials = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {target} HTTP/1.1\r\nHost: {where.netloc}\r\n{credentials}\r\n".encode()


def p(values: list[float], share: float) -> float:
    ordered = sorted(values) or [0.0]
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def main() -> None:
    parser = argparse.ArgumentParser(description="Load over raw sockets; one JSON line last.")
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--token")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rate", type=float, default=0, help="requests a second; 0: as many as are answered")
    options = parser.parse_args()
    gc.disable()
    where = urlsplit(options.urls[0])
    load = Load([request_for(url, options.token) for url in options.urls], options.seconds, options.rate)
    spent = uvloop.run(load.run(where.hostname or "", where.port or 80, options.connections))
    answered = load.latencies.get(200, [])
    result = {
        "rps": len(answered) / spent,
        "p50_ms": p(answered, 0.5),
        "p99_ms": p(answered, 0.99),
        "statuses": dict(load.statuses),
        "late": load.late,
        "cut": load.cut,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
