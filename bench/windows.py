"""A stretch of a run in its steady state: from when to when, and what CPU time each process took in it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench import stamps
from bench.installation import OTHERS, Installation
from bench.listener import Listener
from bench.runs import percentile

BUSY = 0.005  # CPUs; what took less is not shown


@dataclass(frozen=True)
class Window:
    """What happened between two moments of `time.monotonic`."""

    began: float
    ended: float
    cpu_seconds: dict[str, float]

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def cpus(self, name: str) -> float:
        """How many CPUs the processes whose names begin so kept busy."""
        return sum(spent for process, spent in self.cpu_seconds.items() if process.startswith(name)) / self.seconds

    def frames(self, listeners: Sequence[Listener]) -> tuple[int, int]:
        """How many frames they read in it, and how many bytes."""
        read = [listener.frames_between(self.began, self.ended) for listener in listeners]
        return sum(count for count, _ in read), sum(size for _, size in read)

    def speaks(self, listener: Listener) -> bool:
        """Whether it read any text in it."""
        return any(b"event: message.delta" in data for _, data in listener.reads_between(self.began, self.ended))

    def delays_ms(self, listeners: Sequence[Listener]) -> list[float]:
        """Of every stamp they read in it, from its writing on."""
        reads = (listener.reads_between(self.began, self.ended) for listener in listeners)
        return sorted(delay for read in reads for delay in stamps.delays_ms(read))

    def by_second(self, listeners: Sequence[Listener], share: float) -> list[float]:
        """That percentile of the delays of each second of it: what had piled up before shows as a fall."""
        seconds = [Window(self.began + n, self.began + n + 1, {}) for n in range(int(self.seconds))]
        return [percentile(second.delays_ms(listeners), share) for second in seconds]

    def show_cpus(self) -> None:
        shares = sorted(((self.cpus(name), name) for name in self.cpu_seconds if name != OTHERS), reverse=True)
        shown = "  ".join(f"{name} {cpus:.2f}" for cpus, name in shares if cpus > BUSY)
        print(f"  CPUs busy: {shown}; with other work {self.cpus(OTHERS):.2f}", flush=True)


async def watch(arena: Installation, seconds: float) -> Window:
    """Let so much time pass; what is profiled is profiled meanwhile."""
    arena.profile_on()
    spent = arena.cpu_seconds()
    began = time.monotonic()
    await asyncio.sleep(seconds)
    ended = time.monotonic()
    arena.profile_off()
    now = arena.cpu_seconds()
    return Window(began, ended, {name: total - spent.get(name, 0.0) for name, total in now.items()})


def show_delays(title: str, delays: Sequence[float]) -> None:
    low, middle, high, top, most = (percentile(delays, share) for share in (0.1, 0.5, 0.95, 0.99, 1))
    print(f"{title:<34} p10 {low:.1f}  p50 {middle:.1f}  p95 {high:.1f}  p99 {top:.1f}  max {most:.1f}", flush=True)
