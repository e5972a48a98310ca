"""What live streams cost over HTTP, beside a bare fan-out of the same run; the last line printed is one JSON object.

One discussion that many people watch, then many discussions that are spoken in at once; the API and a worker as
processes of their own on embedded engines, the viewers in this one.
"""

import argparse
import asyncio
import gc
import json
import resource
import signal
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop

from bench.crowd import measure_crowd
from bench.fan_out import measure_fan_out
from bench.installation import Installation, data_folder, installation
from bench.profiled import show_profiles

TARGETS = (
    "targets: ratio >= 0.6, delivery_ms_p99 <= 150, rss_kb_per_viewer <= 40, "
    "tokens_per_s_sustained = tokens_per_s_offered = 20 for each discussion, tokens_delivery_ms_p99 <= 250"
)


Part = Callable[[Installation], Awaitable[dict[str, float]]]


def parts_of(options: argparse.Namespace) -> list[Part]:
    """Each has an installation of its own: what one leaves to PostgreSQL to tidy up is not the other's."""
    parts: list[Part] = []
    if options.only != "discussions":
        parts.append(lambda arena: measure_fan_out(arena, options.viewers, options.seconds))
    if options.only != "fan-out":
        parts.append(lambda arena: measure_crowd(arena, options.discussions, options.seconds))
    return parts


async def bench(options: argparse.Namespace) -> dict[str, float]:
    task = asyncio.current_task()
    assert task is not None
    # Leave nothing behind, as with Ctrl-C; an exception out of the handler would end in some viewer's read.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    variables = {
        # Room for everybody: how work is shared out is not what is measured here.
        "ARENA_WORKER_CONCURRENCY": str(max(200, options.discussions)),
        # A turn is stamped tokens without end, which are long for their meaning.
        "ARENA_OPENAI_CONTEXT_TOKENS": "1000000",
    }
    result: dict[str, float] = {}
    for part in parts_of(options):
        with data_folder() as folder:
            started = time.perf_counter()
            async with installation(
                folder, workers=options.workers, profile="windows" if options.profile else "", variables=variables
            ) as arena:
                print(f"everything started in {time.perf_counter() - started:.1f} s", flush=True)
                result |= await part(arena)
            show_profiles(arena.profiles)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="What live streams cost, beside a bare fan-out of the same run.")
    parser.add_argument("--viewers", type=int, default=1000, help="of the one discussion")
    parser.add_argument("--discussions", type=int, default=1000, help="that are spoken in at once")
    parser.add_argument("--seconds", type=float, default=10, help="how long a steady state is watched")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=["fan-out", "discussions"], help="one part of it")
    parser.add_argument("--profile", action="store_true", help="profile the API and the workers (slows them down)")
    options = parser.parse_args()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.disable()  # a pause of the viewers would be taken for one of the server; nothing here goes in circles
    try:
        result = uvloop.run(bench(options))
    except asyncio.CancelledError:
        sys.exit("stopped")
    print(TARGETS)
    print(json.dumps({name: round(value, 3) for name, value in result.items()}))


if __name__ == "__main__":
    main()
