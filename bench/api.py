"""What a request costs, beside a bare FastAPI route of the same run; the last line printed is one JSON object.

The API is a process of its own on embedded engines, with its rate limits off and all else as it is served; so is the
bare route, and so is what asks (`bench/load.py`). They are measured by turns, several times each, and the medians are
compared: a busy minute of the machine is then everybody's.
"""

import argparse
import asyncio
import itertools
import json
import random
import signal
import statistics
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import uvloop

from app.core.tenant_connection import APP_ROLE, TenantConnection
from app.engines.ports import free_port
from bench.installation import Installation, data_folder, installation
from bench.profiled import show_profiles

TARGETS = (
    "targets: messages_ratio >= 0.5, auth_overhead_ms_p50 <= 1, pause_ms_p99_overload <= 300, "
    "messages_ms_p50_at_10000 <= 1.2 x messages_ms_p50_at_100"
)
ROUNDS = 5
SHORT, LONG = 100, 10_000
RATE = 200.0
STATEMENTS = 500
OVERLOAD = 5
PAUSES, LEAST_PAUSES, PAUSE_EVERY_SECONDS = 150, 40, 0.05
_FILL = """
    INSERT INTO messages (id, workspace_id, discussion_id, seq, turn, attempt, participant_id, handle, name, kind,
        content, status, prompt_tokens, completion_tokens, cost_usd, created_at)
    SELECT uuidv7(), d.workspace_id, d.id, n, n, 1, p.id, p.handle, p.name, 'llm',
        repeat('The panel weighs figure ' || n || '. ', 12), 'complete', 900, 64, 0.00042, now()
    FROM generate_series(3, %(count)s + 2) n, discussions d
    JOIN LATERAL (SELECT * FROM participants WHERE discussion_id = d.id LIMIT 1) p ON true
    WHERE d.id = %(id)s
"""


async def load(*urls: str, token: str = "", **options: float) -> dict[str, Any]:
    """What `bench.load` says of it."""
    arguments = [f"--{name}={value:g}" for name, value in options.items()]
    command = [sys.executable, "-m", "bench.load", *urls, *arguments, *([f"--token={token}"] if token else [])]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        said, _nothing = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    if process.returncode != 0:
        raise RuntimeError("bench.load failed")
    result: dict[str, Any] = json.loads(said.splitlines()[-1])
    return result


async def make_discussion(arena: Installation, count: int) -> str:
    """One that waits for a person, with so many messages in it, put into the table directly."""
    agent = {"name": f"Filler {count}", "persona": "You fill.", "model": "openai/fake"}
    made = await arena.call("POST", "/agents", agent)
    discussion = await open_discussion(arena, {"agent_id": made["id"]})
    await asyncio.to_thread(_fill, arena.database_url, discussion, count)
    return discussion


async def statement_overhead(database_url: str) -> float:
    """Milliseconds that row-level security adds to a statement, its workspace being set on the way; p50."""
    ids = "SELECT id, workspace_id FROM agents LIMIT 1"
    statement = "SELECT * FROM agents WHERE id = %s AND workspace_id = %s"
    times: dict[bool, list[float]] = {False: [], True: []}
    plain = await psycopg.AsyncConnection.connect(database_url)
    tenant = await TenantConnection.connect(database_url, options=f"-c role={APP_ROLE}")
    async with plain, tenant:
        row = await (await plain.execute(ids)).fetchone()
        assert row is not None
        tenant.workspace_id = row[1]
        for _ in range(STATEMENTS):
            for connection in (plain, tenant):
                await connection.rollback()
                began = time.perf_counter()
                found = await (await connection.execute(statement, row)).fetchone()
                times[connection is tenant].append((time.perf_counter() - began) * 1000)
                assert found is not None
            await asyncio.sleep(1 / RATE)
    return statistics.median(times[True]) - statistics.median(times[False])


async def open_discussion(arena: Installation, *others: dict[str, str]) -> str:
    """One that waits for a person."""
    user = await arena.call("GET", "/auth/me")
    seats = [{"user_id": user["id"]}, *others]
    discussion: str = (await arena.call("POST", "/discussions", {"topic": "What is it?", "participants": seats}))["id"]
    return discussion


def _fill(database_url: str, discussion: str, count: int) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_FILL, {"id": discussion, "count": count})
        connection.execute("ANALYZE messages")


def median(results: list[dict[str, Any]], name: str) -> float:
    return statistics.median(float(result[name]) for result in results)


class Bench:
    """The figures of one installation and of the bare routes beside it."""

    def __init__(self, arena: Installation, bare: str, seconds: float) -> None:
        self._arena = arena
        self._api = f"{arena.base_url}/api/v1"
        self._bare = bare
        self._seconds = seconds

    async def measure(self, short: str, long: str) -> dict[str, float]:
        result = await self._rates(long)
        result |= await self._overhead()
        result |= await self._lengths(short, long)
        result |= await self._overload(short, long)
        return result

    async def _rates(self, long: str) -> dict[str, float]:
        bare: list[dict[str, Any]] = []
        ours: list[dict[str, Any]] = []
        alive: list[dict[str, Any]] = []
        for _ in range(ROUNDS):
            bare.append(await load(f"{self._bare}/messages?limit=50", seconds=self._seconds))
            self._arena.profile_on()
            ours.append(await load(self._messages(long), token=self._arena.token, seconds=self._seconds))
            self._arena.profile_off()
            alive.append(await load(f"{self._arena.base_url}/healthz", seconds=self._seconds))
        ratios = [mine["rps"] / its["rps"] for mine, its in zip(ours, bare, strict=True)]
        print("ratios of the rounds:", " ".join(f"{ratio:.2f}" for ratio in ratios), flush=True)
        return {
            "bare_rps": median(bare, "rps"),
            "health_rps": median(alive, "rps"),
            "messages_rps": median(ours, "rps"),
            "messages_ratio": statistics.median(ratios),
        }

    async def _overhead(self) -> dict[str, float]:
        """Of all that is around a route that asks nobody, and of what keeps tenants apart in a transaction.

        At a rate that leaves room.
        """
        asked: dict[str, Any] = {"rate": RATE, "connections": 32, "seconds": self._seconds}
        ours, bare = [], []
        for _ in range(ROUNDS):
            ours.append(await load(f"{self._api}/formats", token=self._arena.token, **asked))
            bare.append(await load(f"{self._bare}/formats", **asked))
        mine, its = median(ours, "p50_ms"), median(bare, "p50_ms")
        tenancy = await statement_overhead(self._arena.database_url)
        print(
            f"at {RATE:.0f} requests/s, p50 ms: ours {mine:.2f}, bare {its:.2f}; "
            f"row-level security adds {tenancy:.2f} to a transaction's first statement",
            flush=True,
        )
        return {"auth_overhead_ms_p50": mine - its + tenancy}

    async def _lengths(self, short: str, long: str) -> dict[str, float]:
        """Of pages that are read for the first time: those that are kept are as long whatever they are pages of."""
        of_short, of_long = [], []
        asked: dict[str, Any] = {"connections": 1, "seconds": self._seconds / 2}
        shorts, longs = await self._many_pages(short), await self._many_pages(long)
        for _ in range(ROUNDS):
            of_short.append(await load(*shorts, token=self._arena.token, **asked))
            of_long.append(await load(*longs, token=self._arena.token, **asked))
        kept = await load(self._messages(long), token=self._arena.token, **asked)
        print(
            f"one after the other: {median(of_long, 'rps'):.0f} pages/s read for the first time, "
            f"{kept['rps']:.0f}/s read again, p50 {kept['p50_ms']:.2f} ms",
            flush=True,
        )
        return {
            f"messages_ms_p50_at_{SHORT}": median(of_short, "p50_ms"),
            f"messages_ms_p50_at_{LONG}": median(of_long, "p50_ms"),
        }

    async def _many_pages(self, discussion: str) -> list[str]:
        """Addresses of more pages than are kept, from both ends of the discussion, and alike for each."""
        pages = []
        for order, count in itertools.product(("asc", "desc"), range(1, 21)):
            path = f"/discussions/{discussion}/messages?order={order}"
            cursor = (await self._arena.call("GET", f"{path}&limit={count}"))["next_cursor"]
            pages += [f"{self._api}{path}&cursor={cursor}&limit={limit}" for limit in range(25, 76)]
        random.Random(1).shuffle(pages)
        return pages

    async def _overload(self, short: str, long: str) -> dict[str, float]:
        """`pause`, each of another discussion, while five times as much is asked as the server can answer."""
        paused = iter([await open_discussion(self._arena) for _ in range(PAUSES)])
        events = f"{self._api}/discussions/{long}/events?limit=50"
        urls = [self._messages(long), f"{self._api}/discussions/{short}", f"{self._api}/agents", events]
        able = (await load(*urls, token=self._arena.token, connections=16, seconds=self._seconds))["rps"]
        before = self._arena.rss_mb("api")
        flood = asyncio.create_task(
            load(
                *urls,
                token=self._arena.token,
                rate=OVERLOAD * able,
                connections=500,
                seconds=4 * self._seconds,
            )
        )
        await asyncio.sleep(2)
        times: list[float] = []
        for discussion in paused:
            if flood.done():
                break
            began = time.perf_counter()
            await self._arena.call("POST", f"/discussions/{discussion}/pause")
            times.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(PAUSE_EVERY_SECONDS)
        flooded = await flood
        grown = self._arena.rss_mb("api") - before
        if len(times) < LEAST_PAUSES:
            raise RuntimeError(f"the flood ended after {len(times)} pauses, too few to say anything")
        times.sort()
        p50, p99 = times[len(times) // 2], times[min(len(times) - 1, int(len(times) * 0.99))]
        print(
            f"able {able:.0f}/s, asked {OVERLOAD * able:.0f}/s: answered {flooded['rps']:.0f}/s in p50 "
            f"{flooded['p50_ms']:.0f} ms, statuses {flooded['statuses']}, never sent {flooded['late']}, cut "
            f"{flooded['cut']}; {len(times)} pauses, p50 {p50:.0f} ms; the API grew by {grown:.1f} MiB",
            flush=True,
        )
        return {"pause_ms_p99_overload": p99}

    def _messages(self, discussion: str) -> str:
        return f"{self._api}/discussions/{discussion}/messages?limit=50"


async def bench(options: argparse.Namespace) -> dict[str, float]:
    with data_folder() as folder:
        profile = "windows" if options.profile else ""
        async with installation(folder, workers=0, profile=profile, variables={"ARENA_LOG_LEVEL": "INFO"}) as arena:
            short, long = await make_discussion(arena, SHORT), await make_discussion(arena, LONG)
            bodies, port = folder / "bodies", free_port()
            await _keep(arena, f"/discussions/{long}/messages?limit=50", bodies / "messages.json")
            bare = f"http://127.0.0.1:{port}/bare"
            arguments = ["bench.bare_api", "--port", str(port), "--folder", str(bodies)]
            async with arena.beside("bare", arguments, f"{bare}/formats"):
                result = await Bench(arena, bare, options.seconds).measure(short, long)
        show_profiles(arena.profiles)
    return result


async def _keep(arena: Installation, path: str, file: Path) -> None:
    """The very bytes of our answer."""
    headers = {"Authorization": f"Bearer {arena.token}"}
    async with arena.http.get(f"{arena.base_url}/api/v1{path}", headers=headers) as response:
        response.raise_for_status()
        body = await response.read()
    await asyncio.to_thread(_write, file, body)


def _write(file: Path, body: bytes) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(body)


def main() -> None:
    parser = argparse.ArgumentParser(description="What a request costs, beside a bare FastAPI route.")
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement")
    parser.add_argument("--profile", action="store_true", help="profile the API while it gives messages (slows it)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave nothing behind, as with Ctrl-C
    result = uvloop.run(bench(options))
    print(TARGETS)
    print(json.dumps({name: round(value, 3) for name, value in result.items()}))


if __name__ == "__main__":
    main()
