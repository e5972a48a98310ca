"""Child processes: each in a session of its own, and on Linux none outlives us.

The kernel sends a child its death signal when the *thread* that forked it ends, so `spawn` is called on a thread
that lives as long as the child should: the event loop's.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from app.engines.os_user import OsUser

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.05
LARGEST_LOG_BYTES = 10 * 1024 * 1024
KILL = signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL

if sys.platform == "linux":
    _prctl = ctypes.CDLL(None, use_errno=True).prctl
    _prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, as whom, with which complete environment, and how it learns that we are gone."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    user: OsUser | None = None
    death_signal: signal.Signals = KILL
    log: Path | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended that was run to its end."""

    code: int
    output: str
    errors: str

    @property
    def last_line(self) -> str:
        lines = (self.errors.strip() or self.output.strip()).splitlines()
        return lines[-1].strip() if lines else f"exit code {self.code}"


def spawn(
    command: Command, *, output: int | IO[bytes] | None = None, errors: int | IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """Start `command`; its output goes to its log if it has one, else where `output` and `errors` say."""
    log = _open_log(command.log) if command.log else None
    try:
        return subprocess.Popen(  # noqa: S603 - the program and its arguments are ours
            command.arguments,
            env=dict(command.environment),
            user=command.user.uid if command.user else None,
            group=command.user.gid if command.user else None,
            extra_groups=[] if command.user else None,
            cwd="/" if command.user else None,
            stdin=subprocess.DEVNULL,
            stdout=log if log else output,
            stderr=log if log else errors,
            start_new_session=True,
            preexec_fn=_dies_with_us(command.death_signal),  # noqa: PLW1509  runs after the change of user, as it must
        )
    finally:
        if log:
            log.close()


def _dies_with_us(death_signal: signal.Signals) -> Callable[[], None] | None:
    """Return what a child does before it becomes its program; a change of user would undo it if done earlier."""
    if sys.platform != "linux":
        return None
    parent = os.getpid()

    def prepare() -> None:
        _prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:  # we died before the kernel was asked to tell
            os._exit(1)

    return prepare


def _open_log(path: Path) -> IO[bytes]:
    """Open for appending; a large one is first put aside, replacing the one put aside before."""
    if path.exists() and path.stat().st_size > LARGEST_LOG_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab", buffering=0)


async def exited(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of `process` and return its exit code, negative for a signal; any number may wait."""
    while (code := process.poll()) is None:
        try:
            descriptor = os.pidfd_open(process.pid)
        except (AttributeError, OSError):  # not Linux, or a kernel that has none
            await asyncio.sleep(POLL_SECONDS)
        else:
            await _readable(descriptor)
    return code


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _settle, ended)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """End a command with its children: it leads a session of its own. initdb's would go on without it."""
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


async def run_to_end(command: Command) -> Finished:
    """Run `command` and return what it said; it is killed, with what it started, if we are cancelled."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = spawn(command, output=output, errors=errors)
        try:
            code = await exited(process)
        finally:
            if process.poll() is None:
                _kill_session(process)
        output.seek(0)
        errors.seek(0)
        return Finished(code, output.read().decode(errors="replace"), errors.read().decode(errors="replace"))
