"""A job that is done and whose end the queue does not take: its row was given to another, or the database is away."""

import asyncio
from functools import partial
from typing import Any

import structlog
from procrastinate import JobContext
from procrastinate.jobs import Job
from procrastinate.middleware import AsyncCallNext
from procrastinate.worker import Worker

log = structlog.stdlib.get_logger(__name__)


async def log_unrecorded_end(call_next: AsyncCallNext, context: JobContext, _worker: Worker) -> Any:
    """Worker middleware: tell in the log what Procrastinate leaves to the event loop, which shows a traceback.

    Nothing is lost with it: what the job did is committed, and a row that is left is taken up again by the sweep.
    """
    task = asyncio.current_task()
    assert task
    task.add_done_callback(partial(_log, context.job))
    return await call_next()


def _log(job: Job, task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()):
        reason = str(error.__cause__ or error).partition("\n")[0]
        log.warning("job_end_not_recorded", task=job.task_name, job_id=job.id, reason=reason)
