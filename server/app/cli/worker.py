"""`arena worker`: the process that drives discussions."""

import asyncio

import uvloop

from app.config import load_settings
from app.core.cache import make_cache
from app.core.database import database_url, libpq_url
from app.core.logging import configure_logging
from app.core.public_addresses import Allowance
from app.engines import data_folder
from app.engines.database_check import check_database, check_schema
from app.worker import run_worker


def worker() -> None:
    """Drive discussions. Needs ARENA_DATABASE_URL and ARENA_REDIS_URL; run as many as you like."""
    settings = load_settings()
    configure_logging(settings.log, "worker")
    Allowance.parse(settings.outgoing.outgoing_allow)
    if settings.auth.secret_key is None:
        data_folder.prepare(settings.data_dir)
    url = libpq_url(database_url(settings.database))
    check_database(url)
    check_schema(url)
    make_cache(settings.redis)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_worker(settings))
