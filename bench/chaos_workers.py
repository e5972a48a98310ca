"""The workers of `make chaos`: processes that are killed, and others in their place."""

import asyncio
import itertools
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.installation import Installation

READY_SECONDS = 60.0
POLL_SECONDS = 0.05
END_SECONDS = 25.0


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process and its log."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_ready(self) -> bool:
        return self.process.poll() is None and b'"worker_ready"' in self.log.read_bytes()


class Workers:
    """Always as many as were asked for, though some may still be starting."""

    def __init__(self, arena: Installation, count: int) -> None:
        self._arena = arena
        self._numbers = itertools.count(1)
        self._alive: list[Worker] = []
        self._count = count

    async def __aenter__(self) -> Self:
        for _ in range(self._count):
            self._start()
        await self._until_ready(self._count)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._alive:
            worker.process.send_signal(signal.SIGTERM)
        for worker in self._alive:
            try:
                await asyncio.to_thread(worker.process.wait, END_SECONDS)
            except subprocess.TimeoutExpired:
                worker.process.kill()

    async def choose(self, dice: random.Random) -> Worker:
        """One that works; another is ready to take over, since nobody would with all of them starting."""
        ready = await self._until_ready(2)
        return dice.choice(ready)

    def replace(self, worker: Worker) -> None:
        """Start another in the place of one that was killed."""
        self._alive.remove(worker)
        self._start()

    def _start(self) -> None:
        log = self._arena.folder / f"worker-{next(self._numbers)}.log"
        self._alive.append(Worker(self._arena.spawn_worker(log), log))

    async def _until_ready(self, count: int) -> list[Worker]:
        deadline = time.monotonic() + READY_SECONDS
        while len(ready := [worker for worker in self._alive if worker.is_ready]) < count:
            for worker in self._alive:
                if worker.process.poll() is not None:
                    raise RuntimeError(f"a worker ended by itself: {worker.log.read_text()[-2000:]}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {len(ready)} workers of {count} are ready after {READY_SECONDS:.0f} s")
            await asyncio.sleep(POLL_SECONDS)
        return ready
