"""A whole installation for a benchmark: embedded engines, a fake model, the API and workers, in a folder of its own."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from app.config import DatabaseSettings, RedisSettings, Settings
from app.engines.ports import free_port
from app.engines.process import Command, run_to_end, spawn
from app.engines.stack import Engines
from app.engines.supervisor import Child

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {
    "ARENA_RATE_LIMITS": "off",
    "ARENA_REGISTRATION": "open",
    "ARENA_ACCESS_TOKEN_SECONDS": "7200",  # nosec B105 - seconds
}
OTHERS = "others"
KEPT_SECONDS = 2.0
READY_SECONDS, PATIENCE_SECONDS = 30.0, 60.0
EMAIL, PASSWORD = "bench@example.com", "correct-horse-battery-9"


@dataclass
class Installation:
    """A running installation, and a user of it."""

    engines: Engines
    folder: Path
    base_url: str
    model_url: str
    database_url: str
    http: aiohttp.ClientSession
    environment: dict[str, str]
    token: str = ""
    profiles: list[Path] = field(default_factory=list)
    guests: dict[str, int] = field(default_factory=dict)

    async def call(
        self, method: str, path: str, body: object = None, *, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Call the API as the user, again when it is told to come back; raise on anything but success."""
        headers = {**({"Authorization": f"Bearer {self.token}"} if self.token else {}), **(headers or {})}
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                url = f"{self.base_url}/api/v1{path}"
                async with self.http.request(method, url, json=body, headers=headers) as response:
                    if response.status < 400:
                        return await response.json()
                    if response.status != 503:
                        raise RuntimeError(f"{method} {path}: {response.status} {await response.text()}")
                    wait = float(response.headers["Retry-After"])
                await asyncio.sleep(wait)

    async def log_in(self) -> None:
        """Make the user and get a token."""
        await self.call("POST", "/auth/register", {"email": EMAIL, "password": PASSWORD, "display_name": "Bench"})
        form = {"grant_type": "password", "username": EMAIL, "password": PASSWORD}
        async with self.http.post(f"{self.base_url}/api/v1/auth/token", data=form) as response:
            response.raise_for_status()
            self.token = (await response.json())["access_token"]

    def spawn_worker(self, log: Path) -> subprocess.Popen[bytes]:
        """A worker that nobody starts again; it dies with this process. Call on the event loop's thread."""
        command = Command([sys.executable, "-m", "app.cli", "worker"], environment=self.environment, log=log)
        return spawn(command)

    @asynccontextmanager
    async def beside(self, name: str, arguments: list[str], ready_url: str) -> AsyncIterator[None]:
        """A process of the benchmark's own, counted like ours while the block runs."""
        command = [sys.executable, "-m", *arguments]
        process = spawn(Command(command, environment=self.environment, log=self.folder / f"{name}.log"))
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await _answers(self.http, ready_url):
                    await asyncio.sleep(0.05)
            self.guests[name] = process.pid
            yield
        finally:
            self.guests.pop(name, None)
            process.kill()
            process.wait()

    def profile_on(self) -> None:
        self._signal_profiled(signal.SIGUSR1)

    def profile_off(self) -> None:
        self._signal_profiled(signal.SIGUSR2)

    def _signal_profiled(self, number: signal.Signals) -> None:
        pids = self.engines.supervisor.pids()
        for path in self.profiles:
            os.kill(pids[path.stem], number)

    def pids(self) -> dict[str, int]:
        return self.engines.supervisor.pids() | self.guests

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time so far by process name, living children included; `bench` is this process, OTHERS all not ours."""
        spent = {name: sum(map(_cpu_seconds, _family(pid))) for name, pid in self.pids().items()}
        spent["bench"] = _cpu_seconds(psutil.Process())
        return {**spent, OTHERS: _machine_cpu_seconds() - sum(spent.values())}

    def rss_mb(self, name: str) -> float:
        """Resident memory of the largest process whose name begins so, in MiB."""
        pids = [pid for child, pid in self.engines.supervisor.pids().items() if child.startswith(name)]
        return max(float(psutil.Process(pid).memory_info().rss) for pid in pids) / 2**20

    def rss_kib(self, name: str) -> float:
        """Resident memory of the processes whose name begins so, their children included, in KiB."""
        pids = [pid for child, pid in self.pids().items() if child.startswith(name)]
        return sum(float(process.memory_info().rss) for pid in pids for process in _family(pid)) / 1024

    def rss_bytes(self) -> int:
        """Resident memory of the API and the workers together."""
        pids = [pid for name, pid in self.engines.supervisor.pids().items() if name.startswith(("api", "worker"))]
        return sum(int(psutil.Process(pid).memory_info().rss) for pid in pids)


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _machine_cpu_seconds() -> float:
    """All that the machine's CPUs did, the network's interrupts included: those are in our processes' times too."""
    times = psutil.cpu_times()
    kinds = ("user", "nice", "system", "irq", "softirq")
    return sum(float(getattr(times, kind, 0.0)) for kind in kinds)


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


@contextmanager
def data_folder() -> Iterator[Path]:
    """A temporary folder that PostgreSQL's own OS user can pass, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="arena-bench-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def installation(
    folder: Path, *, workers: int = 1, profile: str = "", variables: Mapping[str, str] | None = None
) -> AsyncIterator[Installation]:
    """Start everything, with these variables on top; leave nothing running.

    `profile` is "all", or "windows": then only from `profile_on` to `profile_off`.
    """
    model_port, api_port = free_port(), free_port()
    # Whatever engines the environment names are not ours to load.
    settings = Settings(
        data_dir=folder / "data",
        database=DatabaseSettings(database_url=None),
        redis=RedisSettings(redis_url=None),
    )
    engines = Engines(settings, model=False)
    async with engines as urls, _client() as http:
        model_url = f"http://127.0.0.1:{model_port}/v1"
        base_url = f"http://127.0.0.1:{api_port}"
        environment = {**os.environ, **ENVIRONMENT, **urls, "ARENA_OPENAI_BASE_URL": model_url, **(variables or {})}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "server")])
        arena = Installation(engines, folder, base_url, model_url, urls["ARENA_DATABASE_OWNER_URL"], http, environment)
        await _migrate(environment)
        starter = _Starter(arena, profile=profile)
        await starter.start("model", ["bench.fake_model", "--port", str(model_port)], f"{model_url}/models")
        await starter.start("api", ["app.cli", "api", "--port", str(api_port)], f"{base_url}/readyz")
        for number in range(1, workers + 1):
            await starter.start(f"worker {number}", ["app.cli", "worker"])
        await arena.log_in()
        yield arena


def _client() -> aiohttp.ClientSession:
    """Drops its connections before the server does, or a request might meet the end of one."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_SECONDS)
    return aiohttp.ClientSession(connector=connector, trust_env=False)


class _Starter:
    """Starts our own processes as children of the engines' supervisor, so that they end before the engines do."""

    def __init__(self, arena: Installation, *, profile: str) -> None:
        self._arena = arena
        self._profile = profile

    async def start(self, name: str, arguments: list[str], ready_url: str | None = None) -> None:
        python = [sys.executable, "-m"]
        if self._profile and name != "model":
            self._arena.profiles.append(self._arena.folder / f"{name}.prof")
            python += ["bench.profiled", *["--on-signal"] * (self._profile == "windows"), str(self._arena.profiles[-1])]

        async def is_ready() -> bool:
            return ready_url is None or await _answers(self._arena.http, ready_url)

        log = self._arena.folder / f"{name}.log"
        command = Command([*python, *arguments], environment=self._arena.environment, log=log)
        await self._arena.engines.supervisor.start(Child(name=name, command=command, is_ready=is_ready))


async def _migrate(environment: dict[str, str]) -> None:
    done = await run_to_end(Command([sys.executable, "-m", "app.cli", "migrate"], environment=environment))
    if done.code != 0:
        raise RuntimeError(f"arena migrate: {done.last_line}")


async def _answers(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with asyncio.timeout(2), http.get(url) as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False
