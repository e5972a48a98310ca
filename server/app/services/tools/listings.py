"""What tool servers offer, asked once for many turns, and held to bounds before a model sees it."""

import asyncio
import hashlib
import re
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID

import orjson
import structlog

from app.services.providers.base import ToolSpec
from app.services.tools.addresses import Address
from app.services.tools.arguments import faults_by
from app.services.tools.base import Faults, sayable
from app.services.tools.names import ALL

log = structlog.stdlib.get_logger(__name__)

KEPT_SECONDS = 60.0
FAILURE_KEPT_SECONDS = 30.0
MOST_KEPT = 500
MOST_TOOLS = 64
LONGEST_NAME = 128
LONGEST_DESCRIPTION = 1_000
LONGEST_REASON = 200
MOST_SCHEMA_BYTES = 16 * 1024
_WIRE_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_DIGEST_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool that a server offers, as it calls it, and as models are told of it."""

    tool: str
    spec: ToolSpec
    faults: Faults


@dataclass(frozen=True, slots=True)
class _Kept:
    asked: "asyncio.Task[list[Offer]]"
    version: datetime
    until: float


class Listings:
    """Use it from one event loop. A server that does not answer is not asked again for a moment."""

    def __init__(self, ask: Callable[[Address], Coroutine[Any, Any, list[Offer]]]) -> None:
        self._ask = ask
        self._kept: dict[UUID, _Kept] = {}

    async def of(self, address: Address) -> list[Offer]:
        """What the server offers, or did a minute ago; raise `ToolFailed`."""
        kept = self._kept.get(address.id)
        if kept is None or kept.version != address.version or kept.until < monotonic():
            kept = self._begin(address)
        # Others wait for it too, whoever began it.
        return await asyncio.shield(kept.asked)

    async def close(self) -> None:
        asked = [kept.asked for kept in self._kept.values()]
        for task in asked:
            task.cancel()
        if asked:
            await asyncio.wait(asked)

    def _begin(self, address: Address) -> _Kept:
        while len(self._kept) >= MOST_KEPT:  # the oldest go; those who wait for one still get it
            del self._kept[next(iter(self._kept))]
        asked = asyncio.create_task(self._ask(address))
        asked.add_done_callback(partial(self._keep_failure, address))
        self._kept[address.id] = _Kept(asked, address.version, monotonic() + KEPT_SECONDS)
        return self._kept[address.id]

    def _keep_failure(self, address: Address, asked: "asyncio.Task[list[Offer]]") -> None:
        if asked.cancelled() or (failure := asked.exception()) is None:
            return
        log.warning("tool_server_failed", server_id=str(address.id), reason=str(failure))
        kept = self._kept.get(address.id)
        if kept is not None and kept.asked is asked:
            self._kept[address.id] = _Kept(asked, address.version, monotonic() + FAILURE_KEPT_SECONDS)


def offers_of(address: Address, listed: Iterable[tuple[str, str, dict[str, Any]]]) -> list[Offer]:
    """What is offered of tools with their names, descriptions and schemas: each name once, the others left out."""
    offers: dict[str, Offer] = {}
    for name, description, parameters in listed:
        if name in offers:
            continue
        try:
            offers[name] = _offer(address, name, description, parameters)
        except ValueError as fault:
            log.warning(
                "tool_left_out",
                server_id=str(address.id),
                tool=address.redacted(name)[:LONGEST_NAME],
                reason=str(fault)[:LONGEST_REASON],
            )
        if len(offers) == MOST_TOOLS:
            break
    return list(offers.values())


def _offer(address: Address, name: str, description: str, parameters: dict[str, Any]) -> Offer:
    """Raise ValueError, with the reason, for a tool that models cannot be told of."""
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name == ALL:
        raise ValueError("its name is too long, or none")
    written = _written(parameters)
    if len(written) > MOST_SCHEMA_BYTES:
        raise ValueError("its schema is too large")
    if address.redacted(name + written) != name + written:
        raise ValueError("it gives our token back")
    if parameters.get("type") != "object":  # providers refuse a whole request for one such tool
        raise ValueError("its schema is that of no object")
    spec = ToolSpec(
        wire_name(address.name, name), address.redacted(sayable(description))[:LONGEST_DESCRIPTION], parameters
    )
    return Offer(name, spec, faults_by(parameters))


def _written(parameters: dict[str, Any]) -> str:
    try:
        return orjson.dumps(parameters).decode()
    except orjson.JSONEncodeError as fault:  # numbers of many digits, a depth of hundreds
        raise ValueError(f"its schema cannot be passed on: {fault}") from None


def wire_name(server: str, tool: str) -> str:
    """What models call it: letters, digits, `_` and `-`, 64 at most; different tools have different names.

    A server's name has no `_`, so that the first two divide the name. A tool that is called otherwise, or too long,
    carries a digest of its name.
    """
    plain = f"{server}__{tool}"
    if _WIRE_NAME.fullmatch(plain):
        return plain
    digest = hashlib.sha256(tool.encode(errors="replace")).hexdigest()[:_DIGEST_DIGITS]
    cleaned = re.sub(r"[^a-zA-Z0-9_-]", "_", plain)
    return f"{cleaned[: 64 - _DIGEST_DIGITS - 1]}_{digest}"
