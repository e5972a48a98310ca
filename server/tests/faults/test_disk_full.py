"""The disk under the data folder fills up: work waits and says so, and goes on when there is room again."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.fixtures.deadlines import eventually
from tests.fixtures.trial import MOST_SECONDS_TO_THE_NEXT_TOKEN, on_trial

DISK_MIB = 192
FULL_SECONDS = 3
RECOVERY = 60
PAGEFUL = "Is there room? " * 500


def why_not() -> str:
    """Why a small disk cannot be had here; empty if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root on Linux can mount a small disk"
    with tempfile.TemporaryDirectory() as folder:
        mounted = mount(Path(folder))
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return "" if mounted.returncode == 0 else f"no disk can be mounted: {mounted.stderr.strip()}"


def mount(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=755", "tmpfs", str(folder)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


pytestmark = [pytest.mark.anyio, pytest.mark.skipif(bool(why := why_not()), reason=why or "it can")]


class SmallDisk:
    """A disk that can be filled up and freed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no block free."""
        with self._ballast.open("ab", buffering=0) as ballast:
            block = bytes(1024 * 1024)
            while block:
                try:
                    ballast.write(block)
                except OSError:
                    block = block[: len(block) // 2]

    def free(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk():
    folder = Path(tempfile.mkdtemp(prefix="arena-disk-"))
    assert mount(folder).returncode == 0
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)
    shutil.rmtree(folder)


@pytest.fixture
def engines_on_it(disk, start_engines):
    return start_engines(disk.folder / "data")


@pytest.fixture
async def place(engines_on_it, install_on):
    return await install_on(engines_on_it)


async def test_nothing_acknowledged_is_lost_and_all_goes_on_when_a_full_disk_has_room_again(
    place, disk, make_user, models, start_worker
):
    person = await make_user(at=place)
    worker = await start_worker(place.settings)
    async with on_trial(person, place.settings) as trial:
        paces = [f"tokens={200 + 50 * n}&delay_ms=1" for n in range(3)]
        opened = await trial.open(*models(*paces), turns=None)
        for witness in opened:
            await witness.until("message.delta", 20, turn=2)

        disk.fill()
        refused = await eventually(lambda: _refusal(person, opened[0], PAGEFUL), 20, "a word that finds no room")
        await asyncio.gather(*(witness.say(PAGEFUL) for witness in opened))
        spoken = len(trial.of_type("message.completed"))
        await asyncio.sleep(FULL_SECONDS)
        spoken_while_full = len(trial.of_type("message.completed")) - spoken
        disk.free()
        freed = time.perf_counter()
        await trial.go_on(2, RECOVERY)
        await trial.stop_all()
        await trial.acquit(RECOVERY)

    assert (refused.status_code, refused.headers["Content-Type"]) == (503, "application/problem+json")
    # PostgreSQL itself goes down when it is its log that finds no room.
    assert refused.json()["code"] in {"database_full", "database_away"}
    assert int(refused.headers["Retry-After"]) >= 1
    assert spoken_while_full < len(opened)
    assert worker.process.poll() is None
    assert trial.of_type("turn.failed") == []
    assert max(witness.longest_silence(freed) for witness in opened) <= MOST_SECONDS_TO_THE_NEXT_TOKEN


async def _refusal(person, witness, words):
    """The answer to words that were not accepted."""
    address = f"/api/v1/discussions/{witness.discussion_id}/messages"
    answer = await person.http.post(address, json={"content": words})
    return None if answer.is_success else answer
