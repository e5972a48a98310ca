"""What a turn costs over HTTP, beside the floor of the same run; the last line printed is one JSON object.

The work of DESIGN's budgets: 4 agents, 100 turns, 64 streamed tokens a turn, a fake model without delay, every turn
durable, one live viewer a discussion; the API and a worker as processes of their own on embedded engines.
"""

import argparse
import asyncio
import json
import pstats
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import psycopg
import uvloop

from bench.fake_behaviour import VARIANTS, reply_text
from bench.floor import direct_call_ms, floor_turns, pg_commit_ms
from bench.installation import OTHERS, Installation, data_folder, installation
from bench.viewer import Turn, Viewer

MODEL = "fake"
AGENTS = 4
WARM_UP_TURNS = 20
SINGLE_RUNS = 3
RUN_SECONDS = 600
TARGETS = "targets: turn_ms_p50 <= 8 (final 5), turns_per_s_50 >= 200 (final 300 at 100), ratio_to_floor <= 5"


@dataclass
class Run:
    """Discussions that ran at once, as their viewers saw them."""

    seconds: float
    turns: list[list[Turn]]
    cpu_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(map(len, self.turns))

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    def gaps_ms(self) -> list[float]:
        """Milliseconds between consecutive completed messages of a discussion."""
        return [(later.at - earlier.at) * 1000 for seen in self.turns for earlier, later in pairwise(seen)]

    def others_cpus(self) -> float:
        """How many CPUs were busy with what is not ours: the figures are only as good as the machine was quiet."""
        return self.cpu_seconds[OTHERS] / self.seconds

    def cpu_ms_per_turn(self, *names: str) -> float:
        return sum(spent for name, spent in self.cpu_seconds.items() if name.startswith(names)) / self.count * 1000


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def spread(values: Sequence[float]) -> str:
    low, middle, high, most = (percentile(values, share) for share in (0.1, 0.5, 0.95, 1))
    return f"p10 {low:.2f}  p50 {middle:.2f}  p95 {high:.2f}  max {most:.2f}"


async def make_agents(arena: Installation) -> list[str]:
    bodies = [
        {
            "name": f"Panelist {number}",
            "handle": f"panelist-{number}",
            "persona": f"You are panelist {number}. You doubt every claim until somebody shows the figures.",
            "model": f"openai/{MODEL}",
            "params": {"max_tokens": 200},
        }
        for number in range(1, AGENTS + 1)
    ]
    return [(await arena.call("POST", "/agents", body))["id"] for body in bodies]


async def run(arena: Installation, agents: list[str], *, discussions: int, turns: int) -> Run:
    """Open drafts, watch each, start all at once, wait for the last end, and check what every viewer saw."""
    draft = {
        "topic": "Should our team go remote?",
        "participants": [{"agent_id": agent} for agent in agents],
        "limits": {"max_turns": turns},
        "start": False,
    }
    ids = [(await arena.call("POST", "/discussions", draft))["id"] for _ in range(discussions)]
    viewers = [
        await Viewer.watch(f"{arena.base_url}/api/v1/discussions/{discussion}/events", arena.token)
        for discussion in ids
    ]
    try:
        spent = arena.cpu_seconds()
        started = time.perf_counter()
        await asyncio.gather(*(arena.call("POST", f"/discussions/{discussion}/start") for discussion in ids))
        async with asyncio.timeout(RUN_SECONDS):
            await asyncio.gather(*(viewer.ended for viewer in viewers))
        seconds = time.perf_counter() - started
        spent = {name: total - spent.get(name, 0.0) for name, total in arena.cpu_seconds().items()}
        result = Run(seconds, [viewer.turns() for viewer in viewers], spent)
    finally:
        for viewer in viewers:
            viewer.close()
    await check(arena, ids, result, turns)
    return result


async def check(arena: Installation, ids: list[str], result: Run, turns: int) -> None:
    """Every viewer saw every turn, each the model's whole reply, and the API gives the same messages afterwards."""
    replies = {reply_text(MODEL, ordinal) for ordinal in range(VARIANTS)}
    for discussion, seen in zip(ids, result.turns, strict=True):
        assert len(seen) == turns, f"{len(seen)} turns of {turns} were seen"
        assert all(turn.message["content"] in replies for turn in seen), "a message is not what the model said"
        page = await arena.call("GET", f"/discussions/{discussion}/messages?limit=200&order=asc")
        stored = [(message["id"], message["content"]) for message in page["items"]]
        assert stored == [(turn.message["id"], turn.message["content"]) for turn in seen][:200]


async def check_durable(database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        for setting in ("synchronous_commit", "fsync", "full_page_writes"):
            row = await (await connection.execute(f"SHOW {setting}")).fetchone()
            assert row == ("on",), f"{setting} is {row}"


@dataclass
class Floor:
    """What the machine, the kernel and PostgreSQL cost, measured between the runs: disks have moods."""

    turn_ms: list[float] = field(default_factory=list)
    call_ms: list[float] = field(default_factory=list)
    commit_ms: list[float] = field(default_factory=list)

    async def measure(self, arena: Installation) -> None:
        turns = await floor_turns(arena.model_url, arena.database_url, model=MODEL)
        calls = await direct_call_ms(arena.model_url, model=MODEL)
        commits = await pg_commit_ms(arena.database_url)
        print(f"floor, ms a turn             {spread(turns)}")
        print(f"model call alone, ms         {spread(calls)}")
        print(f"one-row commit alone, ms     {spread(commits)}")
        self.turn_ms += turns
        self.call_ms += calls
        self.commit_ms += commits


async def measure(arena: Installation, turns: int, discussions: int) -> dict[str, float]:
    await check_durable(arena.database_url)
    agents = await make_agents(arena)
    await run(arena, agents, discussions=2, turns=WARM_UP_TURNS)
    floor = Floor()
    singles = []
    for number in range(1, SINGLE_RUNS + 1):
        await floor.measure(arena)
        singles.append(await run(arena, agents, discussions=1, turns=turns))
        show(f"one discussion ({number})", singles[-1])
    many = await run(arena, agents, discussions=discussions, turns=turns)
    show(f"{discussions} discussions", many)
    rss_mb = arena.rss_mb("worker")
    await floor.measure(arena)
    return figures(floor, singles, many, rss_mb)


def show(title: str, result: Run) -> None:
    gaps = result.gaps_ms()
    print(f"{title + ', ms':<28} {spread(gaps)}  {result.per_second:.0f} turns/s")
    early, late = (percentile(part, 0.5) for part in halves(result))
    spent = sorted(result.cpu_seconds.items(), key=lambda item: -item[1])
    shares = "  ".join(f"{name} {seconds / result.count * 1000:.2f}" for name, seconds in spent if name != OTHERS)
    others = result.others_cpus()
    print(f"  p50 of the first half {early:.2f}, of the second {late:.2f}; CPUs busy with other work {others:.2f}")
    print(f"  CPU ms a turn: {shares}", flush=True)


def halves(result: Run) -> tuple[list[float], list[float]]:
    """The gaps of the first and of the second half of every discussion: history should cost nothing."""
    parts = [(seen[: len(seen) // 2], seen[len(seen) // 2 :]) for seen in result.turns]
    early, late = (Run(result.seconds, [pair[half] for pair in parts]) for half in (0, 1))
    return early.gaps_ms(), late.gaps_ms()


def figures(floor: Floor, singles: list[Run], many: Run, rss_mb: float) -> dict[str, float]:
    gaps = [gap for single in singles for gap in single.gaps_ms()]
    floor_p50, turn_p50 = percentile(floor.turn_ms, 0.5), percentile(gaps, 0.5)
    return {
        "floor_ms_p50": floor_p50,
        "direct_call_ms_p50": percentile(floor.call_ms, 0.5),
        "pg_commit_ms_p50": percentile(floor.commit_ms, 0.5),
        "turn_ms_p50": turn_p50,
        "turn_ms_p95": percentile(gaps, 0.95),
        "ratio_to_floor": turn_p50 / floor_p50,
        "turns_per_s_1": sum(single.count for single in singles) / sum(single.seconds for single in singles),
        "turns_per_s_50": many.per_second,
        "cpu_ms_per_turn": many.cpu_ms_per_turn("api", "worker"),
        "worker_rss_mb": rss_mb,
    }


def show_profiles(profiles: list[Path]) -> None:
    for path in profiles:
        print(f"\n{path.stem}: functions by their own time")
        pstats.Stats(str(path), stream=sys.stdout).sort_stats("tottime").print_stats(35)


async def bench(options: argparse.Namespace) -> dict[str, float]:
    with data_folder() as folder:
        started = time.perf_counter()
        async with installation(folder, workers=options.workers, profile=options.profile) as arena:
            print(f"everything started in {time.perf_counter() - started:.1f} s", flush=True)
            result = await measure(arena, options.turns, options.discussions)
        show_profiles(arena.profiles)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="What a turn costs over HTTP, beside the floor of the same run.")
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--discussions", type=int, default=50)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--profile", action="store_true", help="profile the API and the workers (slows them down)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave nothing behind, as with Ctrl-C
    result = uvloop.run(bench(options))
    print(TARGETS)
    print(json.dumps({name: round(value, 3) for name, value in result.items()}))


if __name__ == "__main__":
    main()
