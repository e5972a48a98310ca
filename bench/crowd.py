"""Many discussions that are spoken in at once, each with a viewer of its own."""

import asyncio
import time

from bench.installation import OTHERS, Installation
from bench.listener import close, listen_each
from bench.runs import percentile
from bench.spoken import Stage, check_all, some_at_once, unended, waiting_for
from bench.windows import show_delays, watch

TEXT = b"event: message.delta"
BEGIN_SECONDS, END_SECONDS = 20, 30
PER_SECOND = 20
DRAFTS_PER_SECOND = 1000  # as fast as the API answers
STARTS_PER_SECOND = 100
SETTLE_SECONDS = 3


async def measure_crowd(arena: Installation, discussions: int, seconds: float) -> dict[str, float]:
    stage = await Stage.build(arena, [1000 / PER_SECOND])
    drafts: list[str] = []

    async def draft(_number: int) -> None:
        drafts.append(await stage.draft())

    await some_at_once(draft, range(discussions), DRAFTS_PER_SECOND)
    listeners = await listen_each([stage.address(discussion) for discussion in drafts], arena.token)
    try:
        print(f"{discussions:,} discussions have a viewer each", flush=True)
        await some_at_once(stage.start, drafts, STARTS_PER_SECOND)
        silent = await waiting_for(listeners, TEXT, BEGIN_SECONDS)
        print(f"{discussions - len(silent):,} are being spoken in", flush=True)
        await asyncio.sleep(SETTLE_SECONDS)
        before = await stage.tokens_said()
        asked = time.monotonic()
        window = await watch(arena, seconds)
        offered = (await stage.tokens_said() - before) / (time.monotonic() - asked)
        await stage.finish()
        open_still = await unended(listeners, END_SECONDS)
        delays = window.delays_ms(listeners)
        frames, size = window.frames(listeners)
        check_all([listener for listener in listeners if listener not in open_still])
    finally:
        close(listeners)
    streaming = sum(window.speaks(listener) for listener in listeners)
    if open_still:
        print(f"  {len(open_still):,} streams had not ended {END_SECONDS} s after the last token: the server is behind")
    sustained = len(delays) / window.seconds
    show_delays(f"{discussions:,} discussions, ms", delays)
    print(f"  {offered:,.0f} tokens/s said, {sustained:,.0f} seen; ", end="")
    print(f"{frames / window.seconds:,.0f} frames/s of {size / frames:.0f} bytes")
    window.show_cpus()
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
