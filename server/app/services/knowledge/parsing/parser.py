"""Runs the process that reads a file, and holds it to its bounds from outside.

Always holds: each file has a process of its own, which has ended and is waited for when `parse` returns, fails or is
cancelled; it takes at most the time and gives at most the bytes it may. Nothing that a file does to its reader reaches
further than that process (see `child.py`).
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import structlog

import app
from app.config import Settings
from app.domain.documents import Heading, ParsedDocument
from app.services.knowledge.parsing.draft import Draft
from app.services.knowledge.parsing.errors import BY_CODE, FileTooComplex, Unreadable
from app.services.knowledge.parsing.markdown import read_markdown, read_plain
from app.services.knowledge.parsing.media_types import MARKDOWN, PLAIN
from app.services.knowledge.parsing.wire import Task

log = structlog.stdlib.get_logger(__name__)

WRITE_BYTES = 256 * 1024
HEAD_BYTES = 16 * 1024 * 1024  # headings and page starts, at their most
MOST_BYTES_PER_CHARACTER = 4
CPU_SHARE = 3  # of its time, a third on a processor: a busy machine makes nothing fail that an idle one reads
# -P and -s: nothing is imported from the working directory or the user's packages.
CHILD = (sys.executable, "-P", "-s", "-m", "app.services.knowledge.parsing.child")
_TOO_COMPLEX = "the file takes more time or memory to read than a file is given: split or simplify it"
_DAMAGED = "the file cannot be read, it seems damaged: save it anew and upload it again"


class Parser:
    """Reads files, at most as many at once as a worker takes documents. Use it from one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._limits = settings.documents
        self._slots = asyncio.Semaphore(settings.worker.worker_documents)

    async def parse(self, original: bytes, *, file_name: str | None, declared: str | None) -> ParsedDocument:
        """What is in the file; raise an `Unreadable`. `declared`: a media type, `charset` included."""
        limits = self._limits
        task = Task(
            file_name=file_name,
            declared=declared,
            memory_bytes=limits.document_parse_bytes,
            cpu_seconds=max(1, round(limits.document_parse_seconds / CPU_SHARE)),
            pages=limits.document_pages,
            characters=limits.document_characters,
        )
        most = HEAD_BYTES + MOST_BYTES_PER_CHARACTER * task.characters
        async with self._slots:
            try:
                async with asyncio.timeout(limits.document_parse_seconds):
                    answer = await _run(task, original, most)
            except TimeoutError:
                raise FileTooComplex(_TOO_COMPLEX) from None
        if answer is None:
            raise FileTooComplex(_TOO_COMPLEX)
        return await asyncio.to_thread(_document, answer)


def read_text(text: str, *, markdown: bool, most_characters: int) -> ParsedDocument:
    """A text that came as such, which needs no process to be read; raise `FileTooComplex`."""
    draft = Draft(most_characters)
    (read_markdown if markdown else read_plain)(text, draft)
    return ParsedDocument(
        draft.text,
        MARKDOWN if markdown else PLAIN,
        title=draft.title,
        headings=tuple(Heading(*heading) for heading in draft.headings),
    )


async def _run(task: Task, original: bytes, most: int) -> bytes | None:
    """What the process answered; None if it was ended, by a limit or by its own fault."""
    process = await asyncio.create_subprocess_exec(
        *CHILD,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment(),
        start_new_session=True,
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            feeding = tasks.create_task(_feed(process, task, original))
            answer = await _answer(process, most)
            feeding.cancel()
        return answer if answer is not None and await process.wait() == 0 else None
    finally:
        await asyncio.shield(_end(process))


async def _feed(process: asyncio.subprocess.Process, task: Task, original: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its end says why
        process.stdin.write(task.head())
        view = memoryview(original)
        for start in range(0, len(view), WRITE_BYTES):
            process.stdin.write(view[start : start + WRITE_BYTES])
            await process.stdin.drain()
        process.stdin.close()


async def _answer(process: asyncio.subprocess.Process, most: int) -> bytes | None:
    assert process.stdout is not None
    answer = bytearray()
    while part := await process.stdout.read(WRITE_BYTES):
        answer += part
        if len(answer) > most:
            return None
    return bytes(answer)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the process, with whatever it may have started, and wait for it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            if sys.platform == "win32":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.stdin is not None
    assert process.stdout is not None
    while await process.stdout.read(WRITE_BYTES):  # asyncio waits for the end of a pipe before that of its process
        pass
    await process.wait()
    process.stdin.close()
    with contextlib.suppress(OSError):  # it ended before it had read all; nobody else would ask, and be told so
        await process.stdin.wait_closed()


def environment() -> Mapping[str, str]:
    """What the process is told: where this code is, and on Windows what no program starts without."""
    root = str(Path(app.__file__).parent.parent)
    kept = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    return {"PYTHONPATH": root, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1", **kept}


def _document(answer: bytes) -> ParsedDocument:
    line, found, text = answer.partition(b"\n")
    if not found:
        raise FileTooComplex(_TOO_COMPLEX)
    head: dict[str, Any] = orjson.loads(line)
    if "code" in head:
        raise _error(head)
    return ParsedDocument(
        text.decode(),
        head["media_type"],
        title=head["title"],
        page_starts=head["page_starts"],
        headings=tuple(Heading(*heading) for heading in head["headings"]),
    )


def _error(head: dict[str, Any]) -> Unreadable:
    kind = BY_CODE[head["code"]]
    if "fault" in head:
        log.warning("file_reader_failed", fault=head["fault"])
    return kind(head["detail"] or (_TOO_COMPLEX if kind is FileTooComplex else _DAMAGED))
