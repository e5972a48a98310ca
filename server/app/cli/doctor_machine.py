"""What `arena doctor` asks of the machine: Python, packages, the data folder, disk and memory."""

import importlib.metadata
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
from packaging.requirements import Requirement

from app.config import Settings
from app.core.errors import StartupFailed
from app.engines import data_folder
from app.engines.os_user import USER_NAME, closed_folder, find_engine_user

DISTRIBUTION = "discussion-arena"
OLDEST_PYTHON = (3, 11)
LEAST_DISK_BYTES = 1024**3
LEAST_MEMORY_BYTES = 1024**3  # the local model takes 500 to 750 MB, all else about 500


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table; `note` is neither good nor bad."""

    check: str
    state: Literal["ok", "fail", "note"]
    found: str
    mend: str = ""


def check_machine(settings: Settings) -> list[Finding]:
    """Ask everything that needs no engine."""
    return [
        _check_python(),
        _check_packages(),
        _check_data_folder(settings),
        _check_disk(settings.data_dir),
        _check_memory(settings),
    ]


def _check_python() -> Finding:
    version = platform.python_version()
    if sys.version_info >= OLDEST_PYTHON:
        return Finding("Python", "ok", f"{version} on {platform.system()} {platform.machine()}")
    return Finding("Python", "fail", version, "install Python 3.11 or newer, then `make install PYTHON=python3.11`")


def _check_packages() -> Finding:
    """Compare what the installed release asks for with what is installed."""
    try:
        wanted = importlib.metadata.requires(DISTRIBUTION) or []
        release = importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return Finding("Packages", "note", f"{DISTRIBUTION} is not installed, it runs from its sources")
    requirements = [Requirement(line) for line in wanted]
    relevant = [requirement for requirement in requirements if not requirement.marker or requirement.marker.evaluate()]
    faults = [fault for requirement in relevant if (fault := _fault(requirement))]
    if faults:
        return Finding("Packages", "fail", "; ".join(faults), "run `make install` again")
    return Finding("Packages", "ok", f"{DISTRIBUTION} {release}, {len(relevant)} packages as it needs them")


def _fault(requirement: Requirement) -> str | None:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(version, prereleases=True):
        return None
    return f"{requirement.name} is {version}, needed {requirement.specifier}"


def _check_data_folder(settings: Settings) -> Finding:
    folder = settings.data_dir
    try:
        data_folder.prepare(folder)
    except StartupFailed as error:
        return Finding("Data folder", "fail", error.detail, "set ARENA_DATA_DIR to a folder of your own")
    user = find_engine_user() if settings.database.database_url is None else None
    closed = closed_folder(folder, user) if user else None
    if closed:
        return Finding(
            "Data folder",
            "fail",
            f"PostgreSQL's OS user `{USER_NAME}` cannot pass {closed}",
            f"set ARENA_DATA_DIR to a folder it can reach, such as /var/lib/arena, or `chmod o+x {closed}`",
        )
    return Finding("Data folder", "ok", f"{folder}, writable")


def _check_disk(folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(existing).free
    found = f"{_gigabytes(free)} free at {existing}"
    if free >= LEAST_DISK_BYTES:
        return Finding("Disk", "ok", found)
    return Finding("Disk", "fail", found, "free 1 GB, or set ARENA_DATA_DIR to a folder on a larger disk")


def _check_memory(settings: Settings) -> Finding:
    memory = psutil.virtual_memory()
    found = f"{_gigabytes(memory.available)} available of {_gigabytes(memory.total)}"
    if memory.available >= LEAST_MEMORY_BYTES:
        return Finding("Memory", "ok", found)
    relief = "end something" if settings.models.local_model == "off" else "end something, or set ARENA_LOCAL_MODEL=off"
    return Finding("Memory", "fail", found, f"1 GB is needed: {relief}")


def _gigabytes(number: int) -> str:
    return f"{number / 1024**3:.1f} GB"
