"""The OS user of PostgreSQL, which refuses to run as root."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import StartupFailed

if sys.platform != "win32":
    import pwd

USER_NAME = "pgserver"
CREATE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class OsUser:
    """Whom a child runs as."""

    name: str
    uid: int
    gid: int


def engine_user() -> OsUser | None:
    """Return `pgserver`, created if need be, when we are root; None when PostgreSQL can run as ourselves."""
    if os.geteuid() != 0:
        return None
    return find_engine_user() or _create_user()


def find_engine_user() -> OsUser | None:
    """Return `pgserver` if we are root and it exists already."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(USER_NAME)
    except KeyError:
        return None
    return OsUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _create_user() -> OsUser:
    """Create the system user; several processes may try at once, and `useradd` fails while another runs."""
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", USER_NAME]
    deadline = time.monotonic() + CREATE_SECONDS
    while True:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
        except OSError as error:
            raise StartupFailed(_cannot_create(str(error))) from error
        if user := find_engine_user():
            return user
        if time.monotonic() > deadline:
            raise StartupFailed(_cannot_create(done.stderr.strip()))
        time.sleep(0.2)


def _cannot_create(reason: str) -> str:
    return (
        f"PostgreSQL does not run as root and its OS user `{USER_NAME}` cannot be created ({reason}): "
        f"create it, start as another user, or set ARENA_DATABASE_URL"
    )


def closed_folder(path: Path, user: OsUser) -> Path | None:
    """Return the first folder on the way to `path`, itself included, that `user` may not pass; None if all are open.

    Asked of the kernel as that user: access lists and mount options count, not only the mode.
    """
    ancestors = [*reversed(path.parents), path]
    script = 'for folder; do test -x "$folder" || { printf %s "$folder"; exit 0; }; done'
    done = subprocess.run(  # noqa: S603 - the program and its arguments are ours
        ["/bin/sh", "-c", script, "sh", *map(str, ancestors)],
        user=user.uid,
        group=user.gid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(done.stdout) if done.stdout else None
