"""What a turn costs over HTTP, beside the floor of the same run; the last line printed is one JSON object.

The work of DESIGN's budgets: 4 agents, 100 turns, 64 streamed tokens a turn, a fake model without delay, every turn
durable, one live viewer a discussion; the API and a worker as processes of their own on embedded engines.
"""

import argparse
import json
import signal
import time
from dataclasses import dataclass, field

import psycopg
import uvloop

from bench.floor import direct_call_ms, floor_turns, pg_commit_ms
from bench.history import measure_history
from bench.idle import measure_idle
from bench.installation import OTHERS, Installation, data_folder, installation
from bench.profiled import show_profiles
from bench.runs import MODEL, Run, make_agents, percentile, run, spread
from bench.watching import measure_watching

WARM_UP_TURNS = 20
SINGLE_RUNS = 3
CROWD = 100
TARGETS = (
    "targets: turn_ms_p50 <= 5, ratio_to_floor <= 5, turns_per_s_100 >= 300, history_ratio <= 1.3, "
    "streaming_overhead <= 0.1, claim_ms_p99 <= 50, idle_rss_kb_per_discussion 0"
)


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


async def measure(arena: Installation, options: argparse.Namespace) -> dict[str, float]:
    turns: int = options.turns
    await check_durable(arena.database_url)
    agents = await make_agents(arena)
    await run(arena, agents, discussions=2, turns=WARM_UP_TURNS)
    floor = Floor()
    singles = []
    for number in range(1, SINGLE_RUNS + 1):
        await floor.measure(arena)
        singles.append(await run(arena, agents, discussions=1, turns=turns))
        show(f"one discussion ({number})", singles[-1])
    many = await run(arena, agents, discussions=options.discussions, turns=turns)
    show(f"{options.discussions} discussions", many)
    rss_mb = arena.rss_mb("worker")
    await floor.measure(arena)
    result = figures(floor, singles, many, rss_mb)
    crowd = await run(arena, agents, discussions=CROWD, turns=turns)
    show(f"{CROWD} discussions", crowd)
    result |= {f"turns_per_s_{options.discussions}": many.per_second, f"turns_per_s_{CROWD}": crowd.per_second}
    result |= await measure_watching(arena, agents)
    if options.long:
        result |= await measure_history(arena, agents, options.long)
    if options.idle:
        result |= await measure_idle(arena, agents, options.idle)
    return result


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
        "cpu_ms_per_turn": many.cpu_ms_per_turn("api", "worker"),
        "worker_rss_mb": rss_mb,
    }


async def bench(options: argparse.Namespace) -> dict[str, float]:
    with data_folder() as folder:
        started = time.perf_counter()
        async with installation(folder, workers=options.workers, profile="all" if options.profile else "") as arena:
            print(f"everything started in {time.perf_counter() - started:.1f} s", flush=True)
            result = await measure(arena, options)
        show_profiles(arena.profiles)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="What a turn costs over HTTP, beside the floor of the same run.")
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--discussions", type=int, default=50)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--long", type=int, default=2020, help="turns of the long discussion; 0 leaves it out")
    parser.add_argument("--idle", type=int, default=20_000, help="open idle discussions; 0 leaves them out")
    parser.add_argument("--profile", action="store_true", help="profile the API and the workers (slows them down)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave nothing behind, as with Ctrl-C
    result = uvloop.run(bench(options))
    print(TARGETS)
    print(json.dumps({name: round(value, 3) for name, value in result.items()}))


if __name__ == "__main__":
    main()
