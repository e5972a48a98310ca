"""The data folder: its layout, the lock of the one supervisor that uses it, and the installation's secret key."""

import hashlib
import os
import re
import secrets
import stat
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from app.config import Settings
from app.core.errors import StartupFailed
from app.engines.os_user import OsUser

if sys.platform != "win32":
    import fcntl

LOCK_NAME = "serve.lock"
KEY_NAME = "secret.key"
KEY_BYTES = 48
LOCK_ATTEMPTS = 5
LOCK_PAUSE_SECONDS = 0.05
SOCKET_PATH_BYTES = 107  # sockaddr_un holds 108 with its final NUL
LONGEST_SOCKET_NAME = "/.s.PGSQL.5432"


def prepare(data_dir: Path) -> None:
    """Make the folder and its parts; raise `StartupFailed` if it cannot hold our data."""
    try:
        _make_reachable(data_dir)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
        for name in ("run", "logs", "transcripts"):
            (data_dir / name).mkdir(mode=0o700, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise StartupFailed(f"the data folder {data_dir} cannot be used: {error.filename} is not a folder") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise StartupFailed(
            f"the data folder {data_dir} cannot be written ({reason}): set ARENA_DATA_DIR to a folder of your own"
        ) from error


def _make_reachable(folder: Path) -> None:
    """Create what is missing of the path, passable for PostgreSQL's own OS user whatever the umask."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        _make_reachable(folder.parent)
    folder.mkdir()
    folder.chmod(0o711)


def run_folder(data_dir: Path) -> Path:
    """Return the folder of the engines' sockets: `<data_dir>/run`, or a short one where that path would not do.

    A socket's path is limited in length, and connection strings give a meaning to some characters.
    """
    inside = data_dir / "run"
    fits = len(os.fsencode(f"{inside}{LONGEST_SOCKET_NAME}")) <= SOCKET_PATH_BYTES
    if fits and re.fullmatch(r"[\w/.+-]+", str(inside)):
        return inside
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path("/tmp") / f"arena-{digest}"  # noqa: S108  TMPDIR may be long too; ownership is checked on use


def make_private(folder: Path, user: OsUser | None) -> None:
    """Make `folder` and give it to `user` (None: ourselves), closed to others; refuse one that somebody else made."""
    owner, group = (user.uid, user.gid) if user else (os.geteuid(), os.getegid())
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), owner}:
            raise StartupFailed(f"the folder {folder} belongs to somebody else: remove it and start again")
        if (found.st_uid, found.st_gid) != (owner, group):
            os.chown(folder, owner, group, follow_symlinks=False)
        folder.chmod(0o700)
    except OSError as error:
        raise StartupFailed(f"the folder {folder} cannot be made private: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Holder:
    """Who uses a data folder; the process id is 0 in the instant before it is written."""

    pid: int
    command: str


class FolderLock:
    """Held by the one supervisor of a data folder; the kernel releases it however that process ends."""

    def __init__(self, data_dir: Path, command: str = "arena serve") -> None:
        self._data_dir = data_dir
        self._command = command
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, or raise `StartupFailed` naming who has it."""
        descriptor = os.open(self._data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        # One who only looks whether the lock is held has it for an instant, too.
        for _ in range(LOCK_ATTEMPTS):
            if _lock(descriptor):
                break
            time.sleep(LOCK_PAUSE_SECONDS)
        else:
            holder = _read_holder(descriptor)
            os.close(descriptor)
            raise _already_used(self._data_dir, holder)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {self._command}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def find_holder(data_dir: Path) -> Holder | None:
    """Return who holds the folder's lock now; None if nobody does, or the folder is not there."""
    try:
        descriptor = os.open(data_dir / LOCK_NAME, os.O_RDWR)
    except OSError:
        return None
    try:
        return None if _lock(descriptor) else _read_holder(descriptor)
    finally:
        os.close(descriptor)


def refuse_a_second(data_dir: Path) -> None:
    """Raise `StartupFailed` if somebody holds the lock; takes nothing itself."""
    holder = find_holder(data_dir)
    if holder is not None:
        raise _already_used(data_dir, holder)


def _already_used(data_dir: Path, holder: Holder) -> StartupFailed:
    return StartupFailed(f"another `{holder.command}` (pid {holder.pid or 'unknown'}) already uses {data_dir}")


def _lock(descriptor: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_holder(descriptor: int) -> Holder:
    pid, _, command = os.pread(descriptor, 200, 0).decode(errors="replace").strip().partition(" ")
    return Holder(int(pid) if pid.isdecimal() else 0, command or "arena serve")


def secret_key(settings: Settings) -> str:
    """Return the key in the data folder, made by whichever process comes first."""
    path = settings.data_dir / KEY_NAME
    try:
        if not path.exists():
            _create_key(path)
        key = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StartupFailed(f"the secret key {path} cannot be read or made: {error}") from error
    if len(key) < 32:
        raise StartupFailed(f"the secret key {path} is damaged: restore it, or remove it and sign in anew")
    return key


def _create_key(path: Path) -> None:
    """Write the key aside and link it into place, so that nobody ever reads half of it and the first one wins."""
    aside = path.with_name(f".{KEY_NAME}.{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, f"{secrets.token_urlsafe(KEY_BYTES)}\n".encode())
        os.fsync(descriptor)
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        os.close(descriptor)
        aside.unlink()
