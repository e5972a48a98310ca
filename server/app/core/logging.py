"""Structured logs: one JSON object a line, or colours on a terminal; secrets never pass."""

import json
import logging
import re
import sys
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, TextIO
from uuid import UUID

import orjson
import structlog

from app.config import LogSettings
from app.core.clock import utc_now
from app.core.request_context import current_origin

Event = MutableMapping[str, Any]

REQUESTS = "arena.request"
"""The logger of requests' lines."""
_SECRET_WORDS = ("password", "token", "secret", "api_key", "authorization", "cookie", "content", "persona", "ticket")
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that reverse what is read, but for tab and line break."""
_HARMLESS = {"prompt_tokens", "completion_tokens", "max_tokens", "first_token_ms"}


def _add_origin(process: str, _logger: object, _method: str, event: Event) -> Event:
    """Say of every line when which process wrote it, and for which request of whose."""
    event.setdefault("process", process)
    event["timestamp"] = utc_now()
    origin = current_origin()
    if origin.request_id is not None:
        event.setdefault("request_id", origin.request_id)
    if origin.user_id is not None:
        event.setdefault("user_id", origin.user_id)
        event.setdefault("credential_id", origin.credential_id)
    return event


def _redact(_logger: object, _method: str, event: Event) -> Event:
    """Blank every field whose name says it holds a secret or somebody's words."""
    for name in event:
        if _is_secret(name):
            event[name] = "[redacted]"
    return event


@lru_cache(1_000)
def _is_secret(name: str) -> bool:
    return name not in _HARMLESS and any(word in name.lower() for word in _SECRET_WORDS)


def _dumps(event: object, **_options: object) -> str:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z).decode()
    except TypeError:  # half a surrogate pair, a number of more than 64 bits
        return json.dumps(event, default=_in_words)


def _in_words(value: object) -> str:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)


def _for_people(_logger: object, _method: str, event: Event) -> Event:
    """Write out what JSON has forms of its own for, and nothing that a terminal would obey."""
    return {name: _shown(value) for name, value in event.items()}


def _shown(value: object) -> object:
    if isinstance(value, (datetime, UUID)):
        return _in_words(value)
    if isinstance(value, str):
        return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], value)
    return value


def _is_ours_to_tell(record: logging.LogRecord) -> bool:
    """Neither the address of a socket, with the ticket in it, nor a complaint about one that we refused."""
    text = str(record.msg)
    return '"WebSocket %s"' not in text and "without completing handshake" not in text


class _Writer(structlog.WriteLogger):
    """Writes lines at once: the standard library's way to a handler takes twice as long as all else about a line.

    What cannot be written, since a disk is full or nobody reads any more, is lost, and fails nothing of what it tells.
    """

    def __init__(self, file: TextIO, name: str = "arena") -> None:
        super().__init__(file)
        self.name = name

    def msg(self, message: str) -> None:
        with suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


_tell_request: Callable[[str, Event], None] | None = None


def log_request(level: str, event: Event) -> None:
    """Log a request, by fields that hold no secret.

    Where lines are JSON it goes past structlog, whose chain takes four times as long as all else about a line.
    """
    if _tell_request is not None:
        _tell_request(level, event)
    else:
        getattr(structlog.stdlib.get_logger(REQUESTS), level)("request", **event)


def _write_request(writer: _Writer, process: str, level: str, event: Event) -> None:
    event.update(event="request", level=level, logger=REQUESTS)
    writer.msg(_dumps(_add_origin(process, writer, level, event)))


def configure_logging(settings: LogSettings, process: str) -> None:
    """Send structlog's and the standard library's records to stderr in one format."""
    wants_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        partial(_add_origin, process),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _redact,
    ]
    final: list[structlog.types.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_dumps)]
        if wants_json
        # Its default shows the local variables of every frame: tokens, passwords, whispers.
        else [
            _for_people,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    # Their INFO lines repeat ours, and Procrastinate's carry a job's arguments.
    for noisy in ("procrastinate", "uvicorn.access", "httpx2", "httpcore2", "alembic", "aiohttp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # With the address it would log the ticket in it; our own line of a socket names the route alone.
    logging.getLogger("uvicorn.error").addFilter(_is_ours_to_tell)
    # At DEBUG it would log every frame, and with it whatever a first one proves.
    logging.getLogger("uvicorn.error").setLevel(max(logging.INFO, logging.getLevelName(settings.log_level)))
    global _tell_request  # noqa: PLW0603 - as structlog's configuration, there is one a process
    is_told = wants_json and logging.getLevelName(settings.log_level) <= logging.INFO
    _tell_request = partial(_write_request, _Writer(sys.stderr), process) if is_told else None
    structlog.configure(
        processors=[*shared, *final],
        logger_factory=partial(_Writer, sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        cache_logger_on_first_use=True,
    )
