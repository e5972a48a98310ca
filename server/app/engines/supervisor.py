"""The supervisor: named children started in order, restarted with back-off, stopped in reverse.

Only processes started here are ever signalled. Each is in a session of its own, so a Ctrl-C in the terminal reaches
the supervisor alone, which then ends them in order. On Linux a killed supervisor takes all of them with it.
"""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import StartupFailed
from app.engines.process import KILL, Command, exited, spawn

logger = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
HEALTHY_SECONDS = 60.0
PROBE_EVERY_SECONDS = 0.03
PROBE_SECONDS = 5.0

StopStep = tuple[signal.Signals, float]
TERMINATE: tuple[StopStep, ...] = ((signal.SIGTERM, 10.0), (KILL, 5.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One process to keep alive.

    `prepare` runs before every start and may raise `StartupFailed`. `is_ready` is asked until it says yes or
    `ready_seconds` have passed. `stop_steps` are signals, each with the seconds it may take.
    """

    name: str
    command: Command
    prepare: Callable[[], Awaitable[None]] | None = None
    is_ready: Callable[[], Awaitable[bool]] | None = None
    ready_seconds: float = 30.0
    stop_steps: tuple[StopStep, ...] = TERMINATE


class _NotReadyError(Exception):
    """The child ended or said nothing before it was ready."""


class Supervisor:
    """Starts children, keeps them running, and ends them in reverse order."""

    def __init__(self) -> None:
        self._kept: list[_Kept] = []
        self._forced = asyncio.Event()

    async def start(self, child: Child, *, wait: bool = True) -> None:
        """Start `child` and return once it is ready; raise `StartupFailed` if it ends before that.

        With `wait=False` return at once; then a failed first start is retried like any later one.
        """
        kept = _Kept(child, self._forced, must_start=wait)
        self._kept.append(kept)
        if wait:
            await kept.up

    async def ready(self, name: str) -> None:
        """Return when the child of that name is ready, however often it starts until then."""
        child = next(kept for kept in self._kept if kept.child.name == name)
        while not child.is_ready:  # noqa: ASYNC110  readiness comes and goes
            await asyncio.sleep(PROBE_EVERY_SECONDS)

    def pids(self) -> dict[str, int]:
        """Return the running children's process ids by name."""
        return {kept.child.name: kept.process.pid for kept in self._kept if kept.is_running and kept.process}

    async def stop(self) -> None:
        """End every child, the last started first; safe to call twice."""
        while self._kept:
            await self._kept[-1].stop()
            self._kept.pop()

    def force(self) -> None:
        """End what still runs without its grace."""
        self._forced.set()


class _Kept:
    """One child through its restarts."""

    def __init__(self, child: Child, forced: asyncio.Event, *, must_start: bool) -> None:
        self.child = child
        self.process: subprocess.Popen[bytes] | None = None
        self.up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._forced = forced
        self._must_start = must_start
        self._ready_since: float | None = None
        self._log_bytes = 0
        self._task = asyncio.create_task(self._keep(), name=f"keep {child.name}")

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def is_ready(self) -> bool:
        return self.is_running and self._ready_since is not None

    async def _keep(self) -> None:
        delay = FIRST_DELAY_SECONDS
        while True:
            try:
                reason = await self._live()
            except (_NotReadyError, StartupFailed, OSError) as error:
                reason = str(error)
                if self._must_start and not self.up.done():
                    self.up.set_exception(StartupFailed(f"{self.child.name} did not start: {reason}"))
                    return
            if self._ready_since and time.monotonic() - self._ready_since >= HEALTHY_SECONDS:
                delay = FIRST_DELAY_SECONDS
            logger.warning("%s: %s; starting it again in %.1f s", self.child.name, reason, delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY_SECONDS)

    async def _live(self) -> str:
        """Start the child, see it ready, wait for its end and return how it ended."""
        self._ready_since = None
        if self.child.prepare:
            await self.child.prepare()
        self._log_bytes = _size(self.child.command.log)
        self.process = spawn(self.child.command)
        await self._become_ready(self.process)
        self._ready_since = time.monotonic()
        logger.info("%s: ready (pid %d)", self.child.name, self.process.pid)
        if not self.up.done():
            self.up.set_result(None)
        return _ending(await exited(self.process))

    async def _become_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.child.ready_seconds
        while not await self._probe():
            if (code := process.poll()) is not None:
                raise _NotReadyError(self._why(_ending(code)))
            if time.monotonic() > deadline:
                await self._end()
                raise _NotReadyError(self._why(f"not ready after {self.child.ready_seconds:.0f} s"))
            await asyncio.sleep(PROBE_EVERY_SECONDS)

    async def _probe(self) -> bool:
        if self.child.is_ready is None:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PROBE_SECONDS):
                return await self.child.is_ready()
        return False

    def _why(self, ending: str) -> str:
        """Add what the child wrote since its start, of which an error says more than the hints after it."""
        log = self.child.command.log
        if log is None or not log.exists():
            return ending
        written = log.read_bytes()
        since = self._log_bytes if len(written) >= self._log_bytes else 0  # a large log was put aside at the start
        lines = written[since:].decode(errors="replace").strip().splitlines()
        telling = [line for line in lines if "FATAL" in line or "rror" in line] or lines
        return f"{ending}: {telling[-1].strip()} (log: {log})" if telling else ending

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if not self.up.done():
            self.up.cancel()
        await self._end()

    async def _end(self) -> None:
        """Signal the process step by step until it has ended; when forced, without the first, gentle step's grace."""
        if self.process is None:
            return
        for number, (step, seconds) in enumerate(self.child.stop_steps):
            if self.process.poll() is not None:
                break
            self._signal(step)
            await self._ended_within(seconds, gentle=number == 0)
        if self.process.poll() is None:
            logger.error("%s: pid %d does not end", self.child.name, self.process.pid)

    def _signal(self, step: signal.Signals) -> None:
        """Signal the process; kill its whole group, since what it started may ignore gentler ways."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            if step == KILL and sys.platform != "win32":
                os.killpg(self.process.pid, step)
            else:
                self.process.send_signal(step)

    async def _ended_within(self, seconds: float, *, gentle: bool) -> None:
        assert self.process is not None
        waits: set[asyncio.Task[int] | asyncio.Task[bool]] = {asyncio.create_task(exited(self.process))}
        if gentle:
            waits.add(asyncio.create_task(self._forced.wait()))
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


def _size(log: Path | None) -> int:
    return log.stat().st_size if log and log.exists() else 0


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"
