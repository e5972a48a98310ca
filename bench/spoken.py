"""Discussions that stamped models speak in, as long as a benchmark wants, and what their viewers must have seen."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from bench import stamps
from bench.installation import Installation
from bench.listener import Listener, ListenerError
from bench.viewer import turns_of

T = TypeVar("T")

BEGIN_SECONDS = 60
END_SECONDS = 60
ASK_SECONDS = 0.1
CALLS_AT_ONCE = 16
LOOKED_AT_CLOSELY = 20
LONGEST_REPLY = 32_000


@dataclass
class Stage:
    """Agents that speak until they are told to finish, one turn each."""

    arena: Installation
    agents: list[str]

    @classmethod
    async def build(cls, arena: Installation, delays_ms: Sequence[float]) -> Self:
        """One agent for each pace, given as the milliseconds between two tokens."""
        bodies = [
            {
                "name": f"Speaker {number}",
                "handle": f"speaker-{number}-of-{len(delays_ms)}",
                "model": f"openai/fake?stamped&endless&delay_ms={delay_ms:g}",
                "params": {"max_tokens": LONGEST_REPLY},
            }
            for number, delay_ms in enumerate(delays_ms, 1)
        ]
        return cls(arena, [(await arena.call("POST", "/agents", body))["id"] for body in bodies])

    def address(self, discussion: str) -> str:
        return f"{self.arena.base_url}/api/v1/discussions/{discussion}/events"

    async def draft(self) -> str:
        draft = {
            "topic": "What is worth a thousand listeners?",
            "participants": [{"agent_id": agent} for agent in self.agents],
            "limits": {"max_turns": len(self.agents)},
            "start": False,
        }
        discussion: str = (await self.arena.call("POST", "/discussions", draft))["id"]
        return discussion

    async def start(self, discussion: str) -> None:
        await self.arena.call("POST", f"/discussions/{discussion}/start")

    async def finish(self) -> None:
        """Let whoever speaks come to an end."""
        address = self.arena.model_url.removesuffix("/v1") + "/finish"
        async with self.arena.http.post(address) as response:
            response.raise_for_status()

    async def tokens_said(self) -> int:
        """By all models since the beginning."""
        async with self.arena.http.get(self.arena.model_url.removesuffix("/v1") + "/stats") as response:
            return int((await response.json())["stamped_tokens"])

    async def all_read(self, listeners: Sequence[Listener], what: bytes) -> None:
        """Wait until every one of them has read it."""
        if waiting := await waiting_for(listeners, what, BEGIN_SECONDS):
            raise ListenerError(f"{len(waiting)} viewers were not shown {what!r} within {BEGIN_SECONDS} s")

    async def all_ended(self, listeners: Sequence[Listener]) -> None:
        if waiting := await unended(listeners, END_SECONDS):
            raise ListenerError(f"{len(waiting)} streams did not end within {END_SECONDS} s")


async def waiting_for(listeners: Sequence[Listener], what: bytes, seconds: float) -> list[Listener]:
    """Those that have not read it by then."""
    waiting = list(listeners)
    latest = time.monotonic() + seconds
    while waiting and time.monotonic() < latest:
        await asyncio.sleep(ASK_SECONDS)
        waiting = [listener for listener in waiting if not listener.has_read(what)]
    return waiting


async def unended(listeners: Sequence[Listener], seconds: float) -> set[Listener]:
    """Those whose streams have not ended by then."""
    ends = {listener.ended: listener for listener in listeners}
    done, waiting = await asyncio.wait(ends, timeout=seconds)
    for end in done:
        end.result()
    return {ends[end] for end in waiting}


async def some_at_once(work: Callable[[T], Awaitable[object]], items: Sequence[T], per_second: float) -> None:
    """Do it for each, begun at an even pace, no more than a few at once."""
    turnstile = asyncio.Semaphore(CALLS_AT_ONCE)
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def one(place: int, item: T) -> None:
        await asyncio.sleep(max(0.0, began + place / per_second - loop.time()))
        async with turnstile:
            await work(item)

    await asyncio.gather(*(one(place, item) for place, item in enumerate(items)))


def check_all(listeners: Sequence[Listener]) -> None:
    """Every viewer was shown exactly what was kept, up to the end; some of them are looked at event by event."""
    for listener in listeners:
        stream = listener.stream()
        if b"event: turn.retried\n" in stream:
            turns_of(listener.reads())
            continue
        shown, kept = stamps.shown_and_kept(stream)
        if not kept or shown != kept:
            raise ListenerError(f"the deltas are not the messages: {len(shown):,} bytes shown, {len(kept):,} kept")
        if b"event: discussion.ended\n" not in stream:
            raise ListenerError("the stream ended before the discussion did")
    for listener in listeners[:: max(1, len(listeners) // LOOKED_AT_CLOSELY)]:
        turns_of(listener.reads())
