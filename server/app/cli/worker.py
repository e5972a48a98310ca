"""`arena worker`: the process that drives discussions."""

import asyncio

import uvloop

from app.cli.installation import check_installation
from app.config import load_settings
from app.core.cache import make_cache
from app.core.logging import configure_logging
from app.core.public_addresses import Allowance
from app.worker import run_worker


def worker() -> None:
    """Drive discussions. Needs ARENA_DATABASE_URL and ARENA_REDIS_URL; run as many as you like."""
    settings = load_settings()
    configure_logging(settings.log, "worker")
    Allowance.parse(settings.outgoing.outgoing_allow)
    check_installation(settings)
    make_cache(settings.redis)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_worker(settings))
