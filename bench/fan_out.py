"""One discussion that many people watch, and by turns a bare fan-out of the same frames to as many.

A sitting of ours is one discussion of two turns: the first is spoken at a reader's pace, the second faster than can be
delivered, so that what is delivered is limited by the server alone.
"""

import asyncio
from dataclasses import dataclass
from statistics import median

from app.engines.ports import free_port
from bench.installation import OTHERS, Installation
from bench.listener import Listener, ListenerError, close, listen
from bench.runs import percentile
from bench.spoken import Stage, check_all, ended
from bench.windows import Window, show_delays, watch

ROUNDS = 2
PACED_PER_SECOND = 20
FULL_SPEED_SECONDS = 5
SETTLE_SECONDS = 1.5
WARM_UP_VIEWERS = 50
SAMPLED = 20  # one viewer of so many, where there are millions of stamps
CHUNK_BYTES = 7  # what HTTP adds to a frame of this size


@dataclass
class Sitting:
    """What many viewers of one source saw: at a reader's pace, and at full speed."""

    delays_ms: list[float]
    full_speed_delays_ms: list[float]
    cpu_us_per_event: float
    others_cpus: float
    events_per_second: float
    paced_bytes: float
    full_speed_bytes: float
    idle_kib: float
    watching_kib: float
    full_speed_kib: float

    @property
    def p50(self) -> float:
        return percentile(self.delays_ms, 0.5)

    @property
    def p99(self) -> float:
        return percentile(self.delays_ms, 0.99)


class Memory:
    """By how much a process has grown, for each viewer."""

    def __init__(self, arena: Installation, name: str, viewers: int) -> None:
        self._arena, self._name, self._viewers = arena, name, viewers
        self._before = arena.rss_kib(name)

    def grown_kib(self) -> float:
        return (self._arena.rss_kib(self._name) - self._before) / self._viewers


async def measure_fan_out(arena: Installation, viewers: int, seconds: float) -> dict[str, float]:
    paced, full_speed = 1000 / PACED_PER_SECOND, max(1.0, viewers / 200)
    stage = await Stage.build(arena, [paced, full_speed])
    await our_sitting(stage, WARM_UP_VIEWERS, 1, 1)
    ours, bare = [], []
    for number in range(1, ROUNDS + 1):
        ours.append(await our_sitting(stage, viewers, seconds, FULL_SPEED_SECONDS, f"ours ({number})"))
        bare.append(await bare_sitting(arena, viewers, seconds, ours[-1], f"bare ({number})"))
    return figures(viewers, ours, bare)


def figures(viewers: int, ours: list[Sitting], bare: list[Sitting]) -> dict[str, float]:
    """The medians of the sittings; memory is of the first one of ours, since what it took is there for the second."""
    ours_per_second = median(one.events_per_second for one in ours)
    bare_per_second = median(one.events_per_second for one in bare)
    return {
        "viewers": viewers,
        "events_per_s": ours_per_second,
        "bare_events_per_s": bare_per_second,
        "ratio": ours_per_second / bare_per_second,
        "cpu_us_per_event": median(one.cpu_us_per_event for one in ours),
        "bare_cpu_us_per_event": median(one.cpu_us_per_event for one in bare),
        "cpu_ratio": median(one.cpu_us_per_event for one in bare) / median(one.cpu_us_per_event for one in ours),
        "delivery_ms_p50": median(one.p50 for one in ours),
        "delivery_ms_p99": median(one.p99 for one in ours),
        "bare_delivery_ms_p50": median(one.p50 for one in bare),
        "bare_delivery_ms_p99": median(one.p99 for one in bare),
        "full_speed_delivery_ms_p99": median(percentile(one.full_speed_delays_ms, 0.99) for one in ours),
        "rss_kb_per_viewer": ours[0].watching_kib,
        "idle_rss_kb_per_viewer": ours[0].idle_kib,
        "full_speed_rss_kb_per_viewer": ours[0].full_speed_kib,
        "bare_rss_kb_per_viewer": median(one.watching_kib for one in bare),
        "fan_out_others_cpus": median(one.others_cpus for one in ours + bare),
        "frame_bytes": median(one.full_speed_bytes for one in ours),
    }


async def our_sitting(
    stage: Stage, viewers: int, paced_seconds: float, full_speed_seconds: float, title: str = ""
) -> Sitting:
    arena = stage.arena
    discussion = await stage.draft()
    memory = Memory(arena, "api", viewers)
    listeners = await listen(stage.address(discussion), viewers, arena.token)
    try:
        await asyncio.sleep(SETTLE_SECONDS)
        idle_kib = memory.grown_kib()
        await stage.start(discussion)
        await stage.all_read(listeners, b'"turn":1,"attempt":1,"offset"')
        await asyncio.sleep(SETTLE_SECONDS)
        paced = await watch(arena, paced_seconds)
        watching_kib = memory.grown_kib()
        await stage.finish()
        await stage.all_read(listeners, b'"turn":2,"attempt":1,"offset"')
        await asyncio.sleep(SETTLE_SECONDS)
        full_speed = await watch(arena, full_speed_seconds)
        full_speed_kib = memory.grown_kib()
        await stage.finish()
        those_that_ended = await ended(listeners)
        sitting = _sitting(listeners, "api", paced, full_speed, (idle_kib, watching_kib, full_speed_kib), title)
        check_all(those_that_ended)
        return sitting
    finally:
        close(listeners)


async def bare_sitting(arena: Installation, viewers: int, seconds: float, like: Sitting, title: str) -> Sitting:
    """The same with the bare fan-out, in frames as large as `like` had on average."""
    port = free_port()
    base_url = f"http://127.0.0.1:{port}"
    async with arena.beside("bare", ["bench.bare_streams", "--port", str(port)], f"{base_url}/readyz"):
        await _pace(arena, base_url, like.paced_bytes, PACED_PER_SECOND)
        await _warm_up(base_url)
        await _pace(arena, base_url, like.paced_bytes, 0)
        memory = Memory(arena, "bare", viewers)
        listeners = await listen(f"{base_url}/stream", viewers)
        try:
            await asyncio.sleep(SETTLE_SECONDS)
            idle_kib = memory.grown_kib()
            await _pace(arena, base_url, like.paced_bytes, PACED_PER_SECOND)
            await asyncio.sleep(SETTLE_SECONDS)
            paced = await watch(arena, seconds)
            watching_kib = memory.grown_kib()
            await _pace(arena, base_url, like.full_speed_bytes, None)
            await asyncio.sleep(SETTLE_SECONDS)
            full_speed = await watch(arena, FULL_SPEED_SECONDS)
            kib = (idle_kib, watching_kib, memory.grown_kib())
            return _sitting(listeners, "bare", paced, full_speed, kib, title)
        finally:
            close(listeners)


async def _warm_up(base_url: str) -> None:
    listeners = await listen(f"{base_url}/stream", WARM_UP_VIEWERS)
    await asyncio.sleep(SETTLE_SECONDS)
    close(listeners)


async def _pace(arena: Installation, base_url: str, frame_bytes: float, per_second: float | None) -> None:
    asked = f"bytes={frame_bytes:.0f}" + ("" if per_second is None else f"&per_s={per_second}")
    async with arena.http.post(f"{base_url}/pace?{asked}") as response:
        response.raise_for_status()


def _sitting(
    listeners: list[Listener],
    server: str,
    paced: Window,
    full_speed: Window,
    kib: tuple[float, float, float],
    title: str,
) -> Sitting:
    delays = paced.delays_ms(listeners)
    paced_count, paced_bytes = paced.frames(listeners)
    count, size = full_speed.frames(listeners)
    if not delays or not count:
        raise ListenerError("nothing was delivered")
    full_speed_delays = full_speed.delays_ms(listeners[::SAMPLED])
    per_second = count / full_speed.seconds
    cpu_us = full_speed.cpus(server) / per_second * 1e6
    if title:
        show_delays(f"{title}, at a reader's pace, ms", delays)
        print(f"  {paced_count / paced.seconds:,.0f} frames/s of {paced_bytes / paced_count:.0f} bytes")
        paced.show_cpus()
        print(f"{title}, at full speed: {per_second:,.0f} frames/s of {size / count:.0f} bytes, ", end="")
        print(f"each {cpu_us:.1f} µs of CPU")
        show_delays("  delivered after, ms", full_speed_delays)
        full_speed.show_cpus()
        print("  KiB a viewer: idle {:.1f}, watching {:.1f}, at full speed {:.1f}".format(*kib), flush=True)
    sizes = (paced_bytes / paced_count - CHUNK_BYTES, size / count - CHUNK_BYTES)
    return Sitting(delays, full_speed_delays, cpu_us, full_speed.cpus(OTHERS), per_second, *sizes, *kib)
