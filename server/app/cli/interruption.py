"""Ctrl-C that ends a command in order at any moment, and blocking work beside the event loop."""

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import typer

from app.cli.serve import _stopped_by_signals
from app.engines.supervisor import Supervisor

EXIT_CODE = 130
RELEASE_SECONDS = 2.0

T = TypeVar("T")


Work = Callable[[], Coroutine[Any, Any, None]]


def run_interruptibly(work: Work, supervisor: Supervisor | None, farewell: Callable[[], str]) -> None:
    """Run `work`; the first SIGINT or SIGTERM cancels it, and once it has ended in order we say so and exit with 130.

    A second signal makes the supervisor's children end without their grace.
    """
    try:
        was_finished = asyncio.run(_was_finished(work, supervisor or Supervisor()))
    except KeyboardInterrupt:  # before or after the loop listens for signals, when nothing runs
        was_finished = False
    if not was_finished:
        print(f"arena: interrupted; {farewell()}", file=sys.stderr)
        raise typer.Exit(EXIT_CODE)


async def _was_finished(work: Work, supervisor: Supervisor) -> bool:
    with _stopped_by_signals(supervisor):
        await work()
        return True
    return False


async def in_thread(work: Callable[[], T], release: Callable[[], None] | None = None) -> T:
    """Run blocking `work` on a thread; when cancelled, call `release`, which should end it, and wait for that.

    The thread is a daemon: one that is not released in time does not keep the process from ending.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # it belongs to whoever waits
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    waiting = asyncio.wrap_future(outcome)
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        if release is not None:
            release()
            await asyncio.wait([waiting], timeout=RELEASE_SECONDS)
        raise
