"""The worker process: drives discussions, delivers webhooks and does chores until it is told to stop.

Turns and the rest have queues and slots of their own, so that agents outside, documents and models on the side, however
slow, never keep a turn waiting.
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import procrastinate.worker
import structlog
from procrastinate.exceptions import ConnectorException

from app.config import Settings
from app.core.background import running
from app.core.cache import make_cache, make_channels
from app.core.database import make_engine
from app.core.garbage import keep_all_that_lives
from app.core.outgoing import Outgoing
from app.core.queue import make_queue
from app.core.sealing import Sealer
from app.core.turn_tokens import TurnTokens
from app.core.webhooks import WebhookSigner
from app.engines.secret_keys import find_secret_keys
from app.jobs import clear, deliver, drive, enrich, extract, ingest, remember, summarise
from app.jobs.sweep import Sweep
from app.jobs.unrecorded_end import log_unrecorded_end
from app.repositories.jobs import ASSISTANT_QUEUE, CHORES_QUEUE, DELIVERIES_QUEUE, KNOWLEDGE_QUEUE, TURNS_QUEUE
from app.repositories.turns import TurnRepository
from app.services.ai_models import make_catalog
from app.services.assistant_model import Assistants
from app.services.embedding.catalog import EmbeddingCatalog
from app.services.external_calls import ExternalCalls
from app.services.floor_deadlines import FloorDeadlines
from app.services.knowledge.enrichment import Enrichment
from app.services.knowledge.extraction import Extracting
from app.services.knowledge.fetching import Fetcher
from app.services.knowledge.ingestion import Ingestion
from app.services.knowledge.left_overs import LeftOvers
from app.services.knowledge.originals import make_originals
from app.services.knowledge.parsing.parser import Parser
from app.services.knowledge.reembedding import Reembedding
from app.services.knowledge.removal import Removal
from app.services.knowledge.search import KnowledgeSearch
from app.services.live.bus import LiveBus
from app.services.memory.distilling import Distilling
from app.services.memory.recall import Recall
from app.services.memory.summaries import Summaries
from app.services.side_calls import SideCalls
from app.services.tools.allowed_knowledge import AllowedKnowledge
from app.services.tools.toolbox import Toolboxes
from app.services.turns.driver import TurnDriver
from app.services.turns.leases import LeaseKeeper
from app.services.turns.research import Research
from app.services.unit_of_work import UnitOfWorkFactory
from app.services.vector_stores import make_vector_store
from app.services.workspace_clearing import WorkspaceClearing

log = structlog.stdlib.get_logger(__name__)

HEARTBEAT_SECONDS = 1.0
FORGET_WORKERS_AFTER_SECONDS = 30.0
POLL_SECONDS = 1.0
RESTART_SECONDS = 0.5
DELIVERIES_AT_ONCE = 50
# A try that is cut is made again by another worker.
DELIVERIES_DRAIN_SECONDS = 2.0
# The same of documents and of what asks models on the side.
BESIDE_DRAIN_SECONDS = 2.0


async def run_worker(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT; running turns are then finished within `worker_drain_seconds`."""
    async with _worker(settings) as (worker, driver):
        loop = asyncio.get_running_loop()

        def stop() -> None:
            driver.draining.set()
            worker.stop()  # type: ignore[no-untyped-call]

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        keep_all_that_lives()
        log.info("worker_ready", concurrency=settings.worker.worker_concurrency)
        await _keep_working(worker, driver)
        log.info("worker_stopped")


async def _keep_working(worker: procrastinate.worker.Worker, driver: TurnDriver) -> None:
    """Until the driver drains, however often the database goes away."""
    while not driver.draining.is_set():
        await _run_until_stopped_or_cut_off(worker)
        if not driver.draining.is_set():
            await asyncio.sleep(RESTART_SECONDS)


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
    channels = make_channels(settings.redis)
    bus = LiveBus(cache, channels)
    queue = make_queue(settings.database, "worker")
    uow = UnitOfWorkFactory(engine, queue, bus.announce, settings.auth.session_idle)
    turns = TurnRepository(engine)
    secret_keys, outgoing = await find_secret_keys(settings), Outgoing(settings.outgoing)
    models = make_catalog(settings, uow, Sealer(secret_keys), outgoing.guard, cache)
    embedding_models, vectors = EmbeddingCatalog(settings.models, models), make_vector_store(settings, uow)
    recall = Recall(uow, embedding_models)
    assistants, side_calls = Assistants(settings.models, models), SideCalls(uow, settings.budgets)
    summaries = Summaries(uow, assistants, side_calls)
    search = KnowledgeSearch(uow, embedding_models, vectors)
    research = Research(uow, search, recall, summaries.find)
    toolboxes = Toolboxes(settings, uow, Sealer(secret_keys), outgoing.guard, AllowedKnowledge(search))
    leases = LeaseKeeper(turns, settings.worker.lease_seconds)
    owner = f"{socket.gethostname()}:{os.getpid()}"
    driver = TurnDriver(uow, turns, models, bus, leases, settings, owner, research, toolboxes)
    drive.register(queue, driver)
    deadlines = FloorDeadlines(uow, turns)
    calls = ExternalCalls(uow, outgoing, WebhookSigner(secret_keys), TurnTokens(secret_keys), deadlines)
    deliver.register(queue, calls)
    remember.register(queue, Distilling(uow, embedding_models, assistants, side_calls))
    summarise.register(queue, summaries)
    enrich.register(queue, Enrichment(uow, assistants, side_calls))
    extract.register(queue, Extracting(uow, models, side_calls))
    originals = make_originals(settings.originals, uow)
    fetcher, removal = Fetcher(settings), Removal(uow, originals, vectors)
    ingestion = Ingestion(uow, originals, Parser(settings), fetcher, embedding_models, vectors, settings)
    ingest.register(queue, ingestion, Reembedding(uow, embedding_models, vectors), removal, originals)
    left_overs = LeftOvers(uow, originals)
    sweep = Sweep(uow, turns, driver, deadlines, left_overs, aged_after_seconds=settings.worker.worker_ageing_seconds)
    clear.register(queue, WorkspaceClearing(uow, removal))
    sizes = settings.worker
    beside = {
        "deliveries": ((DELIVERIES_QUEUE, CHORES_QUEUE), DELIVERIES_AT_ONCE, DELIVERIES_DRAIN_SECONDS),
        "documents": ((KNOWLEDGE_QUEUE,), sizes.worker_documents, BESIDE_DRAIN_SECONDS),
        "assistants": ((ASSISTANT_QUEUE,), sizes.worker_assistants, BESIDE_DRAIN_SECONDS),
    }
    others = {
        name: partial(_run_until_stopped_or_cut_off, _procrastinate_worker(queue, *slots))
        for name, slots in beside.items()
    }
    try:
        async with (
            queue.open_async(),
            running(
                live_bus=bus.run,
                leases=leases.run,
                sweep=sweep.run,
                recall=recall.run,
                **others,
            ),
        ):
            yield (
                _procrastinate_worker(
                    queue, (TURNS_QUEUE,), settings.worker.worker_concurrency, settings.worker.worker_drain_seconds
                ),
                driver,
            )
    finally:
        await bus.flush()
        for held in (fetcher, toolboxes, vectors, embedding_models, side_calls, models, outgoing):
            await held.close()
        for connections in (cache, channels):
            await connections.aclose()
        await engine.dispose()


def _procrastinate_worker(
    queue: procrastinate.App, queue_names: tuple[str, ...], concurrency: int, drain_seconds: float
) -> procrastinate.worker.Worker:
    return procrastinate.worker.Worker(
        queue,
        queues=list(queue_names),
        name=f"{queue_names[0]}-{os.getpid()}",
        concurrency=concurrency,
        fetch_job_polling_interval=POLL_SECONDS,
        shutdown_graceful_timeout=drain_seconds,
        delete_jobs="always",
        install_signal_handlers=False,
        update_heartbeat_interval=HEARTBEAT_SECONDS,
        stalled_worker_timeout=FORGET_WORKERS_AFTER_SECONDS,
        worker_middleware=[log_unrecorded_end],
    )
