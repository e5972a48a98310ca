"""`make chaos N=200`: kill -9 workers at random moments and count what that cost; the last line is one JSON object.

An installation of its own on embedded engines, several workers, many short discussions with agents that stream and a
person who speaks. Workers are killed one after another, at random, and replaced; every discussion has a viewer that
keeps what it was told. In the end all of it is held against the log and the rows (`bench.verdict` says how).

The line: {"kills", "lost", "duplicated", "overlaps", "stuck", "recovery_ms_p50", "recovery_ms_p99"}. Recovery is from
a kill to the next token of each discussion that the killed worker was driving. The exit code is 1 if any of the four
counts is not 0, if nothing was recovered, or if the 99th percentile is over 7,000 ms.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import time

import uvloop

from bench.chaos_stage import Stage
from bench.chaos_workers import Workers
from bench.installation import data_folder, installation
from bench.runs import percentile

MOST_RECOVERY_MS = 7000
PROGRESS_SECONDS = 10.0
# Two kills close together hit the recovery from the first; the mean leaves room for most to be whole.
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 5.0


async def kill_some(stage: Stage, workers: Workers, dice: random.Random, options: argparse.Namespace) -> int:
    """Kill and replace until it is enough or time is up; how many were killed."""
    wanted: int = options.kills
    over = time.monotonic() + options.minutes * 60
    shown = time.monotonic()
    spread = min(1.0, options.minutes * 60 / wanted / (SHORTEST_PAUSE_SECONDS + LONGEST_PAUSE_SECONDS) * 2)
    for killed in range(wanted):
        await asyncio.sleep(spread * dice.uniform(SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS))
        if time.monotonic() > over:
            return killed
        doomed = await workers.choose(dice)
        stage.strike(doomed)
        workers.replace(doomed)
        if time.monotonic() - shown > PROGRESS_SECONDS or killed + 1 == wanted:
            shown = time.monotonic()
            print(f"  {killed + 1}/{wanted} kills, {stage.progress()}", flush=True)
    return wanted


async def chaos(options: argparse.Namespace) -> dict[str, int | float]:
    dice = random.Random(options.seed)
    with data_folder() as folder:
        async with installation(folder, workers=0) as arena:
            stage = Stage(arena, dice, options.discussions)
            async with Workers(arena, options.workers) as workers, stage.playing():
                print(f"{options.workers} workers drive {options.discussions} discussions at once", flush=True)
                kills = await kill_some(stage, workers, dice, options)
                await stage.finish()
            verdict = await stage.verdict()
    if not verdict.is_clean:
        print(verdict)
    recoveries = [seconds * 1000 for seconds in stage.recoveries]
    print(f"{stage.progress()}, taken up again after a kill {len(recoveries)} times")
    return {
        "kills": kills,
        **verdict.counts,
        "recovery_ms_p50": round(percentile(recoveries, 0.5)) if recoveries else -1,
        "recovery_ms_p99": round(percentile(recoveries, 0.99)) if recoveries else -1,
    }


def is_good(result: dict[str, int | float]) -> bool:
    counts = sum(result[name] for name in ("lost", "duplicated", "overlaps", "stuck"))
    return counts == 0 and 0 <= result["recovery_ms_p99"] <= MOST_RECOVERY_MS


def options_of(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20, metavar="N", help="how many workers to kill (20)")
    parser.add_argument("--seed", type=int, help="of the moments and the victims; a random one, printed, unless given")
    parser.add_argument("--minutes", type=float, default=10, help="kill no more after this long (10)")
    parser.add_argument("--workers", type=int, default=4, help="workers at any time, at least 2 (4)")
    parser.add_argument("--discussions", type=int, default=24, help="discussions at any time (24)")
    options = parser.parse_args(arguments)
    if options.workers < 2 or options.kills < 1 or options.discussions < 1:
        parser.error("there must be 2 workers or more, and 1 kill and 1 discussion at least")
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(2**32)
    return options


def main() -> None:
    options = options_of(sys.argv[1:])
    print(f"chaos with --seed {options.seed}: {options.kills} kills", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave nothing behind, as with Ctrl-C
    result = uvloop.run(chaos(options))
    print(json.dumps(result))
    sys.exit(0 if is_good(result) else 1)


if __name__ == "__main__":
    main()
