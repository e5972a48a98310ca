"""`arena serve`: everything on this machine, kept running until SIGTERM or SIGINT."""

import asyncio
import errno
import http.client
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from app.config import Settings, load_settings
from app.core.errors import StartupFailed
from app.core.logging import configure_logging
from app.core.public_addresses import Allowance
from app.engines import data_folder
from app.engines.ports import answers, free_port, try_listening
from app.engines.process import KILL, Command, run_to_end
from app.engines.stack import Engines, together
from app.engines.supervisor import Child, Supervisor

READY_SECONDS = 60.0
API_STOP_SECONDS = 15.0
DRAIN_MARGIN_SECONDS = 5.0
PROBE_EVERY_SECONDS = 0.05
SECRET_SOURCES = ("ARENA_SECRET_KEY", "ARENA_VAULT_")
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  only compared with


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (ARENA_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (ARENA_PORT).", min=0, max=65535)] = None,
) -> None:
    """Run everything on this machine: API, worker, and the engines that no URL is set for."""
    settings = load_settings()
    configure_logging(settings.log, "serve")
    Allowance.parse(settings.outgoing.outgoing_allow)
    data_folder.refuse_a_second(settings.data_dir)
    address = choose_address(host or settings.server.host, settings.server.port if port is None else port)
    asyncio.run(_serve(settings, *address))


def choose_address(host: str, port: int) -> tuple[str, int]:
    """Return host and port that can be listened on now, with a free port for 0; raise `StartupFailed` otherwise."""
    try:
        chosen = port or free_port(host)
        try_listening(host, chosen)
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            reason = "something else does already; stop it, or choose another port with --port or ARENA_PORT"
        raise StartupFailed(f"cannot listen on port {port} of {host}: {reason}") from error
    return host, chosen


async def _serve(settings: Settings, host: str, port: int) -> None:
    engines = Engines(settings, wait_for_model=False)
    with _stopped_by_signals(engines.supervisor):
        async with engines as urls:
            product = Product(settings, engines.supervisor, urls, host, port)
            login = await product.start()
            _announce(product.url, settings, login)
            await asyncio.Event().wait()


@contextmanager
def _stopped_by_signals(supervisor: Supervisor) -> Iterator[None]:
    """The first signal cancels the block, which then ends everything in order; the second cuts the grace short."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    asked: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        asked.append(number)
        if len(asked) == 1:
            task.cancel()
        else:
            supervisor.force()

    # Windows has no such handlers: there asyncio itself turns a Ctrl-C into a cancellation.
    numbers = () if sys.platform == "win32" else (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    except asyncio.CancelledError:
        if not asked:
            raise
        task.uncancel()
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class Product:
    """The API and a worker on engines that run already, as children of one supervisor."""

    def __init__(
        self, settings: Settings, supervisor: Supervisor, urls: Mapping[str, str], host: str, port: int
    ) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._reach = EVERY_ADDRESS.get(host, host)
        self._port = port
        self._environment = {**_inherited(settings), **urls, "ARENA_HOST": host, "ARENA_PORT": str(port)}

    @property
    def url(self) -> str:
        return f"http://{f'[{self._reach}]' if ':' in self._reach else self._reach}:{self._port}"

    async def start(self) -> dict[str, Any]:
        """Migrate, start both, make the first administrator; return the latter's `created`, `email`, `password`."""
        login: dict[str, Any] = {}

        async def bootstrap() -> None:
            login.update(json.loads(await self._run("user", "bootstrap")))

        await self._run("migrate")
        await together(bootstrap(), self._supervisor.start(self._api()), self._supervisor.start(self._worker()))
        await self._become_ready()
        return login

    def _command(self, *arguments: str) -> Command:
        """Only who migrates is told how to log in as the owner of the tables."""
        hidden = set() if arguments == ("migrate",) else {"ARENA_DATABASE_OWNER_URL"}
        environment = {name: value for name, value in self._environment.items() if name not in hidden}
        return Command([sys.executable, "-m", "app.cli", *arguments], environment=environment)

    async def _run(self, *arguments: str) -> str:
        """Run one of our commands to its end and return its output; what it fails with, we fail with."""
        done = await run_to_end(self._command(*arguments))
        if done.code != 0:
            raise StartupFailed(done.last_line.removeprefix("arena: "))
        sys.stderr.write(done.errors)
        return done.output

    def _api(self) -> Child:
        return Child(
            name="API",
            command=self._command("api"),
            is_ready=lambda: self._answers("/healthz"),
            ready_seconds=READY_SECONDS,
            stop_steps=((signal.SIGTERM, API_STOP_SECONDS), (KILL, 5.0)),
        )

    def _worker(self) -> Child:
        grace = self._settings.worker.worker_drain_seconds + DRAIN_MARGIN_SECONDS
        return Child(
            name="worker",
            command=self._command("worker"),
            stop_steps=((signal.SIGTERM, grace), (KILL, 5.0)),
        )

    async def _become_ready(self) -> None:
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await self._answers("/readyz"):  # noqa: ASYNC110  another process tells
                    await asyncio.sleep(PROBE_EVERY_SECONDS)
        except TimeoutError:
            raise StartupFailed(f"the API is not ready after {READY_SECONDS:.0f} s: see {self.url}/readyz") from None

    async def _answers(self, path: str) -> bool:
        with suppress(OSError, http.client.HTTPException):
            return await asyncio.to_thread(answers, self._reach, self._port, path)
        return False


def _inherited(settings: Settings) -> dict[str, str]:
    """Our environment, without what is meant for others.

    PG* variables, meant for some other server, do not follow us to the embedded one; the secret keys are handed on as
    they were found, so that no child needs a file or Vault to be there again.
    """
    dropped = SECRET_SOURCES + (("PG",) if settings.database.database_url is None else ())
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


def _announce(url: str, settings: Settings, login: Mapping[str, Any]) -> None:
    """Print where it is and, once, the first administrator's login. Not a log line: it holds a password."""
    rows = Table.grid(padding=(0, 2))
    rows.add_row("URL", Text(url, style="bold"))
    rows.add_row("Data", Text(str(settings.data_dir), overflow="fold"))
    if login.get("created"):
        rows.add_row("Administrator", Text(str(login["email"])))
        rows.add_row("Password", Text(login["password"] or "the one in ARENA_ADMIN_PASSWORD"))
        if login["password"]:
            rows.add_row("", Text("shown only this once", style="dim"))
    Console().print(Panel.fit(rows, title="Discussion Arena is ready", padding=(1, 2)))
    sys.stdout.flush()
