"""Tool servers that are programs of this machine, spoken to by their standard input and output.

Of the SDK's own transport this one differs in what it lets a program have and do: its environment is nearly empty, its
folder is its own and is removed, a line and all its output are bounded, and it is killed, with whatever it started in
its group, half a second after its input ended.
"""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

MOST_LINE_BYTES = 2 * 1024 * 1024
MOST_OUTPUT_BYTES = 16 * 1024 * 1024
END_SECONDS = 0.5
KILLED_SECONDS = 2.0
POLL_SECONDS = 0.01

Received = SessionMessage | Exception


class OutputTooLong(Exception):
    """The program says more than is taken."""


@asynccontextmanager
async def stdio(
    command: Sequence[str],
) -> AsyncIterator[tuple[MemoryObjectReceiveStream[Received], MemoryObjectSendStream[SessionMessage]]]:
    """Run the program while the block lasts; raise OSError if it cannot be started."""
    folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="arena-tool-")
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8"},
            cwd=folder,
            start_new_session=True,
            limit=MOST_LINE_BYTES,
        )
        try:
            async with _streams_of(process) as streams:
                yield streams
        finally:
            await _end(process)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


@asynccontextmanager
async def _streams_of(
    process: asyncio.subprocess.Process,
) -> AsyncIterator[tuple[MemoryObjectReceiveStream[Received], MemoryObjectSendStream[SessionMessage]]]:
    to_us, received = anyio.create_memory_object_stream[Received](0)
    to_send, from_us = anyio.create_memory_object_stream[SessionMessage](0)
    with to_us, received, to_send, from_us:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, process, to_us)
            tasks.start_soon(_write, process, from_us)
            yield received, to_send
            tasks.cancel_scope.cancel()


async def _read(process: asyncio.subprocess.Process, to_us: MemoryObjectSendStream[Received]) -> None:
    assert process.stdout is not None
    left = MOST_OUTPUT_BYTES
    with to_us, suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        while line := await _line(process.stdout):
            left -= len(line)
            if left < 0:
                raise OutputTooLong
            await to_us.send(_message(line))


async def _line(output: asyncio.StreamReader) -> bytes:
    try:
        return await output.readline()
    except ValueError:
        raise OutputTooLong from None


def _message(line: bytes) -> Received:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return error


async def _write(process: asyncio.subprocess.Process, from_us: MemoryObjectReceiveStream[SessionMessage]) -> None:
    assert process.stdin is not None
    # One that has ended is noticed where its output is read.
    with suppress(ConnectionError):
        async for message in from_us:
            process.stdin.write(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            await process.stdin.drain()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Let it end by itself for a moment, then kill its group, in which others may be left even if it has ended."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        await _ended(process, END_SECONDS)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        # A descendant that left the group may hold the pipes open, which `wait` would wait for.
        process._transport.close()  # type: ignore[attr-defined]
    await _ended(process, KILLED_SECONDS)


async def _ended(process: asyncio.subprocess.Process, seconds: float) -> None:
    """Wait so long for its end at most; not by `wait`, which waits for whoever holds its pipes, too."""
    for _ in range(round(seconds / POLL_SECONDS)):
        if process.returncode is not None:
            return
        await asyncio.sleep(POLL_SECONDS)
