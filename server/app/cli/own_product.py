"""The whole product for the length of one command: engines, API and worker, their logs in the data folder."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.cli.serve import Product
from app.cli.steps import Steps
from app.config import LogSettings, Settings
from app.core.errors import StartupFailed
from app.core.logging import configure_logging
from app.engines import data_folder
from app.engines.ports import free_port
from app.engines.stack import Engines, together
from app.engines.supervisor import Child

HOST = "127.0.0.1"
MODEL_SECONDS = 60.0


class QuietProduct(Product):
    """Makes no administrator, and its processes write their logs, as JSON, to `<data>/logs`."""

    def __init__(self, settings: Settings, engines: Engines, variables: Mapping[str, str]) -> None:
        environment = {**variables, **engines.urls, "ARENA_LOG_FORMAT": "json"}
        super().__init__(settings, engines.supervisor, environment, HOST, free_port(HOST))
        self._logs = settings.data_dir / "logs"

    async def migrate(self) -> None:
        await self._run("migrate")

    async def start(self) -> dict[str, Any]:
        """Start both processes on a database that is migrated; nobody's login comes of it."""
        await together(*(self._supervisor.start(self._logged(child)) for child in (self._api(), self._worker())))
        await self._become_ready()
        return {}

    def _logged(self, child: Child) -> Child:
        return replace(child, command=replace(child.command, log=self._logs / f"{child.name.lower()}.log"))


@asynccontextmanager
async def own_product(
    settings: Settings, engines: Engines, steps: Steps, variables: Mapping[str, str]
) -> AsyncIterator[str]:
    """Start everything, step by step to be seen, yield the API's URL, and stop everything.

    `variables` are further ones of the API's and the worker's environment.
    """
    data_folder.refuse_a_second(settings.data_dir)
    data_folder.prepare(settings.data_dir)
    _log_to(settings.data_dir / "logs" / "command.log", settings.log)
    async with AsyncExitStack() as stack:
        stack.callback(steps.close)
        with steps.step("PostgreSQL and Valkey"):
            await stack.enter_async_context(engines)
        stack.callback(steps.busy, "stopping")
        product = QuietProduct(settings, engines, variables)
        await together(_start(product, steps), _await_model(settings, engines, steps))
        yield product.url


async def _start(product: QuietProduct, steps: Steps) -> None:
    with steps.step("database schema"):
        await product.migrate()
    with steps.step("API and worker"):
        await product.start()


async def _await_model(settings: Settings, engines: Engines, steps: Steps) -> None:
    if settings.models.local_model_url is not None or settings.models.local_model == "off":
        return
    with steps.step("language model (on this machine)"):
        try:
            async with asyncio.timeout(MODEL_SECONDS):
                await engines.supervisor.ready("local model")
        except TimeoutError:
            log = settings.data_dir / "logs" / "local_model.log"
            raise StartupFailed(f"the local model is not ready after {MODEL_SECONDS:.0f} s: see {log}") from None


def _log_to(path: Path, settings: LogSettings) -> None:
    """Send what the supervisor has to say to a file: the terminal belongs to the discussion."""
    configure_logging(settings.model_copy(update={"log_format": "json"}), "command")
    root = logging.getLogger()
    file = logging.FileHandler(path, encoding="utf-8", delay=True)
    file.setFormatter(root.handlers[0].formatter)
    root.handlers[:] = [file]
