"""Embedded PostgreSQL: one cluster in the data folder, reached only through a socket in a private folder.

The cluster's folder appears complete or not at all. A server left over by a killed supervisor is stopped before ours
starts: whoever holds the data folder's lock is the only one who may run one.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

from app.core.errors import StartupFailed
from app.core.tenant_connection import APP_ROLE
from app.engines.data_folder import make_private, run_folder
from app.engines.os_user import OsUser, closed_folder, engine_user
from app.engines.postgres_install import MAJOR_VERSION, Installation, find_installation, reachable_installation
from app.engines.process import KILL, Command, run_to_end
from app.engines.supervisor import Child

DATABASE = "arena"
SUPERUSER = "postgres"
LEFTOVER_SECONDS = 30
CONNECT_SECONDS = 5
INITDB = (
    *("--username", SUPERUSER, "--encoding", "UTF8", "--locale", "C"),
    *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
    *("--auth-local", "trust", "--auth-host", "reject", "--data-checksums", "--no-instructions"),
)
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # Nothing replicates from an embedded server, so it writes only what its own recovery needs.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
}


class EmbeddedPostgres:
    """The cluster of one data folder; the caller holds that folder's lock."""

    def __init__(self, data_dir: Path, wheel: Installation | None = None) -> None:
        self._data_dir = data_dir
        self._wheel = wheel or find_installation()
        self._cluster = data_dir / "postgres"
        self._log = data_dir / "logs" / "postgres.log"
        self._user: OsUser | None = None
        self._installation = self._wheel
        self.sockets = run_folder(data_dir)

    @property
    def url(self) -> str:
        """Where the application finds it."""
        return socket_url(self._data_dir, APP_ROLE)

    @property
    def owner_url(self) -> str:
        return socket_url(self._data_dir)

    async def prepare(self) -> None:
        """Do all that comes before the first start: user, folders, cluster."""
        self._user = engine_user()
        make_private(self.sockets, self._user)
        self._check_reachable()
        self._installation = await asyncio.to_thread(reachable_installation, self._wheel, self._data_dir, self._user)
        if not self._cluster.exists():
            await self._initialise()
        self._check_version()

    def _check_reachable(self) -> None:
        if self._user is None:
            return
        closed = closed_folder(self._data_dir, self._user) or closed_folder(self.sockets, self._user)
        if closed:
            raise StartupFailed(
                f"PostgreSQL runs as the OS user `{self._user.name}`, who cannot pass {closed} on the way to "
                f"{self._data_dir}: set ARENA_DATA_DIR to a folder it can reach, such as /var/lib/arena, "
                f"or ARENA_DATABASE_URL to a running PostgreSQL"
            )

    async def _initialise(self) -> None:
        """Make the cluster beside its place and move it there whole, so that a crash leaves no half of one."""
        aside = self._cluster.with_name("postgres.new")
        shutil.rmtree(aside, ignore_errors=True)
        make_private(aside, self._user)
        done = await run_to_end(self._command("initdb", *INITDB, "--pgdata", str(aside)))
        if done.code != 0:
            raise StartupFailed(f"PostgreSQL's data cannot be made in {self._data_dir}: {done.last_line}")
        aside.rename(self._cluster)
        _sync_folder(self._data_dir)

    def _check_version(self) -> None:
        try:
            version = (self._cluster / "PG_VERSION").read_text("ascii").strip()
        except OSError as error:
            raise StartupFailed(f"{self._cluster} is not a PostgreSQL cluster: {error.strerror}") from error
        if version != str(MAJOR_VERSION):
            raise StartupFailed(
                f"{self._cluster} was made by PostgreSQL {version} and this is {MAJOR_VERSION}: "
                f"dump it with that version, or set ARENA_DATA_DIR to a new folder"
            )

    def _command(
        self, program: str, *arguments: str, log: Path | None = None, death_signal: signal.Signals = KILL
    ) -> Command:
        """Run as PostgreSQL's user, without the PG* variables of our own environment."""
        kept = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
        environment = {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C"}
        return Command(
            [self._installation.program(program), *arguments],
            environment=environment,
            user=self._user,
            death_signal=death_signal,
            log=log,
        )

    def child(self) -> Child:
        """Return the server; `prepare` must have run. A fast shutdown is its SIGINT, an immediate one its SIGQUIT."""
        settings = {**SETTINGS, "unix_socket_directories": str(self.sockets)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Child(
            name="PostgreSQL",
            command=self._command(
                "postgres", "-D", str(self._cluster), *options, log=self._log, death_signal=signal.SIGINT
            ),
            prepare=self._stop_leftover,
            is_ready=self._answers,
            ready_seconds=60,  # recovery after a crash may take a while
            stop_steps=((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (KILL, 5.0)),
        )

    async def _stop_leftover(self) -> None:
        """Stop a server that a killed supervisor left on this cluster; forget one whose pid is now another's."""
        pid_file = self._cluster / "postmaster.pid"
        pid = _first_number(pid_file)
        if pid is None or not psutil.pid_exists(pid):
            return  # what a crash of the machine leaves, PostgreSQL recognises itself
        if not _is_server_of(pid, self._cluster):
            pid_file.unlink(missing_ok=True)
            return
        arguments = ("-D", str(self._cluster), "-m", "fast", "-w", "-t", str(LEFTOVER_SECONDS), "stop")
        done = await run_to_end(self._command("pg_ctl", *arguments))
        if done.code != 0 and psutil.pid_exists(pid) and _is_server_of(pid, self._cluster):
            raise StartupFailed(f"a PostgreSQL left over from before (pid {pid}) does not stop: {done.last_line}")

    async def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            return await asyncio.to_thread(_ask, self.sockets)
        return False

    async def create_database(self) -> None:
        """Make the database, its vector extension, and the role that the application logs in as, unless they exist."""
        await asyncio.to_thread(_create_database, self.sockets)


def socket_url(data_dir: Path, user: str = SUPERUSER) -> str:
    """Return where the embedded server of that data folder listens, running or not."""
    return f"postgresql://{user}@/{DATABASE}?host={quote(str(run_folder(data_dir)), safe='/')}"


def _connect(sockets: Path, database: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host=str(sockets),
        port=5432,
        user=SUPERUSER,
        dbname=database,
        connect_timeout=CONNECT_SECONDS,
        autocommit=True,
    )


def _ask(sockets: Path) -> bool:
    with _connect(sockets, SUPERUSER) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def _create_database(sockets: Path) -> None:
    with _connect(sockets, SUPERUSER) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
            connection.execute(f"CREATE DATABASE {DATABASE}")
    with _connect(sockets, DATABASE) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [APP_ROLE]).fetchone() is None:
            connection.execute(f"CREATE ROLE {APP_ROLE} NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE")
        connection.execute(f"ALTER ROLE {APP_ROLE} LOGIN")


def _first_number(path: Path) -> int | None:
    try:
        line = path.read_text(errors="replace").partition("\n")[0].strip()
    except OSError:
        return None
    return int(line) if line.isdecimal() else None


def _is_server_of(pid: int, cluster: Path) -> bool:
    """Whether `pid` is PostgreSQL at work in that folder: a number may meanwhile belong to any program."""
    try:
        process = psutil.Process(pid)
        return process.name() == "postgres" and Path(process.cwd()) == cluster.resolve()
    except psutil.Error:
        return False


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
