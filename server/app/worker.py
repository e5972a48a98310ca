"""The worker process: drives discussions until it is told to stop."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import procrastinate.worker
import structlog
from procrastinate.exceptions import ConnectorException

from app.config import Settings
from app.core.background import running
from app.core.cache import make_cache
from app.core.database import make_engine
from app.core.queue import make_queue
from app.jobs import drive
from app.jobs.sweep import Sweep
from app.repositories.jobs import TURNS_QUEUE
from app.repositories.turns import TurnRepository
from app.services.ai_models import ModelCatalog
from app.services.live.bus import LiveBus
from app.services.turns.driver import TurnDriver
from app.services.turns.leases import LeaseKeeper
from app.services.unit_of_work import UnitOfWorkFactory

log = structlog.stdlib.get_logger(__name__)

HEARTBEAT_SECONDS = 1.0
FORGET_WORKERS_AFTER_SECONDS = 30.0
POLL_SECONDS = 1.0
RESTART_SECONDS = 0.5


async def run_worker(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT; running turns are then finished within `worker_drain_seconds`."""
    async with _worker(settings) as (worker, driver):
        loop = asyncio.get_running_loop()

        def stop() -> None:
            driver.draining.set()
            worker.stop()  # type: ignore[no-untyped-call]

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        log.info("worker_ready", concurrency=settings.worker.worker_concurrency)
        while not driver.draining.is_set():
            await _run_until_stopped_or_cut_off(worker)
            if not driver.draining.is_set():
                await asyncio.sleep(RESTART_SECONDS)
        log.info("worker_stopped")


async def _run_until_stopped_or_cut_off(worker: procrastinate.worker.Worker) -> None:
    """Procrastinate's worker ends when it loses the database; it may be run again."""
    try:
        await worker.run()  # type: ignore[no-untyped-call]
    except (ConnectorException, OSError) as error:
        log.warning("database_away", reason=type(error).__name__)


@asynccontextmanager
async def _worker(settings: Settings) -> AsyncIterator[tuple[procrastinate.worker.Worker, TurnDriver]]:
    engine = make_engine(settings.database, "worker")
    cache = make_cache(settings.redis)
    bus = LiveBus(cache)
    queue = make_queue(settings.database, "worker")
    uow = UnitOfWorkFactory(engine, queue, bus.announce)
    turns = TurnRepository(engine)
    models = ModelCatalog(settings.models)
    leases = LeaseKeeper(turns, settings.worker.lease_seconds)
    owner = f"{socket.gethostname()}:{os.getpid()}"
    driver = TurnDriver(uow, turns, models, bus, leases, settings, owner)
    drive.register(queue, driver)
    sweep = Sweep(uow, turns, driver, with_budgets=settings.budgets.is_set)
    try:
        async with queue.open_async(), running(live_bus=bus.run, leases=leases.run, sweep=sweep.run):
            yield _procrastinate_worker(queue, settings), driver
    finally:
        await bus.flush()
        await models.close()
        await cache.aclose()
        await engine.dispose()


def _procrastinate_worker(queue: procrastinate.App, settings: Settings) -> procrastinate.worker.Worker:
    return procrastinate.worker.Worker(
        queue,
        queues=[TURNS_QUEUE],
        name=f"worker-{os.getpid()}",
        concurrency=settings.worker.worker_concurrency,
        fetch_job_polling_interval=POLL_SECONDS,
        shutdown_graceful_timeout=settings.worker.worker_drain_seconds,
        delete_jobs="always",
        install_signal_handlers=False,
        update_heartbeat_interval=HEARTBEAT_SECONDS,
        stalled_worker_timeout=FORGET_WORKERS_AFTER_SECONDS,
    )
