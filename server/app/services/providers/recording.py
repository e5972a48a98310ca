"""Recording: every exchange with a provider, appended to a file of its model for `replay/<name>` to play."""

import asyncio
import os
import re
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from time import perf_counter
from typing import Any

import orjson
import structlog

from app.core.clock import rfc3339, utc_now
from app.services.providers.base import ChatModel, ChatRequest, Finished, ModelError, TextDelta
from app.services.providers.exchange import call_fields, error_fields, request_fields

log = structlog.stdlib.get_logger(__name__)

MOST_NAME_CHARACTERS = 120
MOST_PENDING = 1000  # exchanges that wait for the disk
PATIENCE_SECONDS = 1.0


def recording_name(model: str) -> str:
    """The name of a model's recording: `openai/Qwen/Qwen2.5-7B` is recorded as `openai-Qwen-Qwen2.5-7B`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", model)[:MOST_NAME_CHARACTERS].lstrip(".")


class Recorder:
    """Appends to the recordings of one folder. A disk that fails or hangs is logged, once, and never fails a call.

    A line is one write to a file opened for appending, so that several processes may record into the same folder. A
    thread of its own writes: the event loop's common ones must not wait for a disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer = ThreadPoolExecutor(1, "recorder")
        self._pending = 0
        self._is_failing = False

    async def append(self, name: str, exchange: dict[str, Any]) -> None:
        """Write it, or leave it to be written where that takes longer than `PATIENCE_SECONDS`."""
        if self._pending >= MOST_PENDING:
            self._note("the disk does not keep up")
            return
        self._pending += 1
        written = asyncio.get_running_loop().run_in_executor(self._writer, self._append, name, exchange)
        written.add_done_callback(self._forget)
        await asyncio.wait([written], timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        self._writer.shutdown(wait=False)

    def _forget(self, _written: "asyncio.Future[None]") -> None:
        self._pending -= 1

    def _append(self, name: str, exchange: dict[str, Any]) -> None:
        line = orjson.dumps(exchange) + b"\n"
        try:
            self._write(name, line)
        except OSError as problem:
            self._note(problem.strerror or str(problem))
        else:
            self._is_failing = False

    def _note(self, reason: str) -> None:
        if not self._is_failing:
            log.error("recording_failed", folder=str(self._folder), reason=reason)
        self._is_failing = True

    def _write(self, name: str, line: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        file = os.open(self._folder / f"{name}.jsonl", flags, 0o600)
        try:
            if os.write(file, line) < len(line):
                os.write(file, b"\n")  # ends the broken line, which is skipped when read; fails on a full disk
                raise OSError(0, "a line was written in part")
        finally:
            os.close(file)


class RecordingModel:
    """Hands the inner model's reply on unchanged and records it; the provider's key is in no request."""

    def __init__(self, inner: ChatModel, provider: str, context_tokens: int, recorder: Recorder) -> None:
        self._inner = inner
        self._provider = provider
        self._context_tokens = context_tokens
        self._recorder = recorder

    async def stream(self, request: ChatRequest) -> AsyncGenerator[TextDelta | Finished, None]:
        model = f"{self._provider}/{request.model}"
        began = perf_counter()
        deltas: list[tuple[float, str]] = []
        exchange: dict[str, Any] = {
            "at": rfc3339(utc_now()),
            "model": model,
            "context_tokens": self._context_tokens,
            "request": request_fields(request),
            "deltas": deltas,
        }
        try:
            async with aclosing(self._inner.stream(request)) as items:
                async for item in items:
                    if isinstance(item, Finished):
                        exchange["finish"] = _finish_fields(item, _milliseconds_since(began))
                    else:
                        deltas.append((_milliseconds_since(began), item.text))
                    yield item
        except ModelError as error:
            exchange["error"] = error_fields(error, _milliseconds_since(began))
            raise
        finally:
            await self._recorder.append(recording_name(model), exchange)

    async def close(self) -> None:
        await self._inner.close()


def _finish_fields(finished: Finished, milliseconds: float) -> dict[str, Any]:
    calls = {"tool_calls": call_fields(finished.tool_calls)} if finished.tool_calls else {}
    return {
        **calls,
        "reason": finished.finish_reason,
        "prompt_tokens": finished.prompt_tokens,
        "completion_tokens": finished.completion_tokens,
        "ms": milliseconds,
    }


def _milliseconds_since(began: float) -> float:
    return round((perf_counter() - began) * 1000, 1)
