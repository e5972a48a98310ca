"""What the supervisor promises about any child, shown with small programs."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from app.core.errors import StartupFailed
from app.engines.process import Command, run_to_end
from app.engines.supervisor import Child, Supervisor

pytestmark = pytest.mark.anyio
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts children as somebody else")

SLEEPER = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
NOTES_ITS_END = """
import pathlib, signal, sys, time
def end(*_):
    with open(sys.argv[1], "a") as notes:
        notes.write(sys.argv[2] + "\\n")
    sys.exit()
signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[1] + sys.argv[2]).touch()
time.sleep(60)
"""
SUPERVISES_A_SLEEPER = """
import asyncio, sys
from app.engines.os_user import engine_user
from app.engines.process import Command
from app.engines.supervisor import Child, Supervisor
async def main():
    supervisor = Supervisor()
    await supervisor.start(Child(name="sleeper", command=Command(["/bin/sleep", "60"], user=USER)))
    print(supervisor.pids()["sleeper"], flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    started = Supervisor()
    yield started
    started.force()
    await started.stop()


def python(program: str, *arguments: str, log: Path | None = None) -> Command:
    return Command([sys.executable, "-c", program, *arguments], log=log)


async def eventually(true, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.02)


async def test_a_killed_child_is_started_again(supervisor):
    await supervisor.start(Child(name="sleeper", command=python(SLEEPER)))
    first = supervisor.pids()["sleeper"]

    os.kill(first, signal.SIGKILL)

    await eventually(lambda: supervisor.pids().get("sleeper", first) != first)


async def test_a_child_that_keeps_ending_is_started_less_and_less_often(supervisor, tmp_path):
    note = f"import time; open({str(tmp_path / 'starts')!r}, 'a').write(f'{{time.monotonic()}}\\n')"
    await supervisor.start(Child(name="brief", command=python(note)))

    await eventually(lambda: (tmp_path / "starts").exists() and len(starts(tmp_path)) == 3, seconds=8)

    first, second, third = starts(tmp_path)
    assert 0.4 < second - first < 3
    assert 0.9 < third - second < 4


def starts(folder: Path) -> list[float]:
    return [float(line) for line in (folder / "starts").read_text().splitlines()]


async def test_a_first_start_that_fails_says_what_the_child_wrote(supervisor, tmp_path):
    async def never() -> bool:
        return False

    (tmp_path / "log").write_text("FATAL: what was wrong yesterday\n")
    broken = python("raise SystemExit('the disk is full')", log=tmp_path / "log")

    with pytest.raises(StartupFailed, match=r"broken did not start: ended with exit code 1: the disk is full"):
        await supervisor.start(Child(name="broken", command=broken, is_ready=never))
    assert supervisor.pids() == {}


async def test_a_child_that_is_never_ready_is_ended_and_refused(supervisor):
    async def never() -> bool:
        return False

    with pytest.raises(StartupFailed, match="not ready after 0 s"):
        await supervisor.start(Child(name="mute", command=python(SLEEPER), is_ready=never, ready_seconds=0.2))
    assert supervisor.pids() == {}


async def test_children_end_in_reverse_order(supervisor, tmp_path):
    notes = tmp_path / "notes"
    for name in ("first", "second", "third"):
        await supervisor.start(Child(name=name, command=python(NOTES_ITS_END, str(notes), name)))
        await eventually((tmp_path / f"notes{name}").exists)

    await supervisor.stop()

    assert notes.read_text().split() == ["third", "second", "first"]


async def test_a_child_deaf_to_sigterm_is_killed_after_its_grace(supervisor, tmp_path):
    steps = ((signal.SIGTERM, 0.3), (signal.SIGKILL, 5.0))
    log = tmp_path / "log"
    await supervisor.start(Child(name="stubborn", command=python(STUBBORN, log=log), stop_steps=steps))
    await eventually(lambda: "up" in log.read_text())
    pid = supervisor.pids()["stubborn"]

    await supervisor.stop()

    assert not psutil.pid_exists(pid)


async def test_a_killed_child_takes_along_what_it_started(supervisor, tmp_path):
    starts_another = f"import os; print(os.fork(), flush=True); {STUBBORN}"
    steps = ((signal.SIGTERM, 0.3), (signal.SIGKILL, 5.0))
    log = tmp_path / "log"
    await supervisor.start(Child(name="parent", command=python(starts_another, log=log), stop_steps=steps))
    await eventually(lambda: log.read_text().count("up") == 2)
    grandchild = psutil.Process(max(int(word) for word in log.read_text().split() if word.isdecimal()))

    await supervisor.stop()

    await eventually(lambda: not grandchild.is_running())


async def test_force_cuts_the_grace_short(supervisor, tmp_path):
    steps = ((signal.SIGTERM, 30.0), (signal.SIGKILL, 5.0))
    log = tmp_path / "log"
    await supervisor.start(Child(name="stubborn", command=python(STUBBORN, log=log), stop_steps=steps))
    await eventually(lambda: "up" in log.read_text())

    stopping = asyncio.create_task(supervisor.stop())
    await asyncio.sleep(0.2)
    assert not stopping.done()
    supervisor.force()

    await asyncio.wait_for(stopping, 3)


async def test_a_child_is_out_of_reach_of_the_terminals_ctrl_c(supervisor):
    await supervisor.start(Child(name="sleeper", command=python(SLEEPER)))
    pid = supervisor.pids()["sleeper"]

    assert os.getsid(pid) == os.getpgid(pid) == pid


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
@pytest.mark.parametrize("user", ["None", pytest.param("engine_user()", marks=ROOT_ONLY)])
async def test_a_killed_supervisor_leaves_no_child(user):
    program = SUPERVISES_A_SLEEPER.replace("USER", user)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        assert (child.uids().real == os.getuid()) == (user == "None")
        parent.kill()

    await eventually(lambda: not child.is_running())


async def test_a_command_that_is_cancelled_takes_its_children_with_it(tmp_path):
    told = tmp_path / "child"
    run = asyncio.create_task(run_to_end(Command(["sh", "-c", f"sleep 60 & echo $! > {told}; wait"])))
    await eventually(lambda: told.exists() and told.read_text().strip())
    child = psutil.Process(int(told.read_text()))

    run.cancel()
    await asyncio.gather(run, return_exceptions=True)

    await eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
