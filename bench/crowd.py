"""Many discussions that are spoken in at once, each with a viewer of its own.

All are started and have asked their model before the first token is said: what is measured is discussions that stream,
not how they begin. Then all are spoken in at one pace, their tokens evenly spread over time.
"""

import asyncio
import time
from collections.abc import Sequence

from bench.installation import OTHERS, Installation
from bench.listener import Listener, close, listen_each
from bench.runs import percentile
from bench.spoken import Stage, a_few_at_once, check_all, ended, waiting_for
from bench.windows import Window, show_delays, watch

TEXT = b"event: message.delta"
PER_SECOND = 20
START_SECONDS, BEGIN_SECONDS = 60, 20
SETTLE_SECONDS = 3


async def measure_crowd(arena: Installation, discussions: int, seconds: float) -> dict[str, float]:
    stage = await Stage.build(arena, [1000 / PER_SECOND])
    drafts = await _drafts(stage, discussions)
    began = time.monotonic()
    listeners = await listen_each([stage.address(discussion) for discussion in drafts], arena.token)
    print(f"each has a viewer, after {time.monotonic() - began:.1f} s", flush=True)
    try:
        await _start(stage, drafts)
        await stage.go()
        silent = await waiting_for(listeners, TEXT, BEGIN_SECONDS)
        print(f"{discussions - len(silent):,} are being spoken in", flush=True)
        await asyncio.sleep(SETTLE_SECONDS)
        before, asked = await stage.tokens_said(), time.monotonic()
        window = await watch(arena, seconds)
        offered = (await stage.tokens_said() - before) / (time.monotonic() - asked)
        await stage.finish()
        check_all(await ended(listeners))
        return figures(listeners, window, offered)
    finally:
        close(listeners)


async def _drafts(stage: Stage, discussions: int) -> list[str]:
    drafts: list[str] = []

    async def draft(_number: int) -> None:
        drafts.append(await stage.draft())

    began = time.monotonic()
    await a_few_at_once(draft, range(discussions))
    print(f"{discussions:,} drafts after {time.monotonic() - began:.1f} s", flush=True)
    return drafts


async def _start(stage: Stage, drafts: Sequence[str]) -> None:
    """Return once every one has asked its model for a reply, or has taken too long over it."""
    began = time.monotonic()
    before, asked = await stage.requests(), 0
    await stage.hold()
    await a_few_at_once(stage.start, drafts)
    while asked < len(drafts) and time.monotonic() < began + START_SECONDS:
        await asyncio.sleep(0.1)
        asked = await stage.requests() - before
    print(f"{asked:,} have asked their model, after {time.monotonic() - began:.1f} s", flush=True)


def figures(listeners: Sequence[Listener], window: Window, offered: float) -> dict[str, float]:
    delays = window.delays_ms(listeners)
    frames, size = window.frames(listeners)
    sustained = len(delays) / window.seconds
    show_delays(f"{len(listeners):,} discussions, ms", delays)
    print(f"  {offered:,.0f} tokens/s said, {sustained:,.0f} seen; ", end="")
    print(f"{frames / window.seconds:,.0f} frames/s of {size / frames:.0f} bytes")
    print("  p99 of each second:", " ".join(f"{p99:.0f}" for p99 in window.by_second(listeners, 0.99)))
    window.show_cpus()
    streaming = sum(window.speaks(listener) for listener in listeners)
    if streaming < len(listeners):
        print(f"{len(listeners) - streaming:,} viewers were shown no text in all that time")
    return {
        "discussions_streaming": streaming,
        "tokens_per_s_sustained": sustained,
        "tokens_per_s_offered": offered,
        "tokens_delivery_ms_p50": percentile(delays, 0.5),
        "tokens_delivery_ms_p99": percentile(delays, 0.99),
        "api_cpu_us_per_token": window.cpus("api") / sustained * 1e6,
        "worker_cpu_us_per_token": window.cpus("worker") / sustained * 1e6,
        "others_cpus": window.cpus(OTHERS),
    }
