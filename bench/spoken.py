"""Discussions that stamped models speak in, as long as a benchmark wants, and what their viewers must have seen."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from bench import stamps
from bench.installation import Installation
from bench.listener import Listener, ListenerError
from bench.viewer import turns_of

T = TypeVar("T")

BEGIN_SECONDS = 60
END_SECONDS = 40
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

    async def hold(self) -> None:
        """Let whoever is asked to speak wait for `go`."""
        await self._model("POST", "hold")

    async def go(self) -> None:
        await self._model("POST", "go")

    async def finish(self) -> None:
        """Let whoever speaks come to an end."""
        await self._model("POST", "finish")

    async def requests(self) -> int:
        """How many replies the models were asked for since the beginning."""
        return int((await self._model("GET", "stats"))["requests"])

    async def tokens_said(self) -> int:
        """By all models since the beginning."""
        return int((await self._model("GET", "stats"))["stamped_tokens"])

    async def _model(self, method: str, what: str) -> Any:
        address = f"{self.arena.model_url.removesuffix('/v1')}/{what}"
        async with self.arena.http.request(method, address) as response:
            response.raise_for_status()
            return await response.json()

    async def all_read(self, listeners: Sequence[Listener], what: bytes) -> None:
        """Wait until every one of them has read it."""
        if waiting := await waiting_for(listeners, what, BEGIN_SECONDS):
            raise ListenerError(f"{len(waiting)} viewers were not shown {what!r} within {BEGIN_SECONDS} s")


async def waiting_for(listeners: Sequence[Listener], what: bytes, seconds: float) -> list[Listener]:
    """Those that have not read it by then."""
    waiting = list(listeners)
    latest = time.monotonic() + seconds
    while waiting and time.monotonic() < latest:
        await asyncio.sleep(ASK_SECONDS)
        waiting = [listener for listener in waiting if not listener.has_read(what)]
    return waiting


async def ended(listeners: Sequence[Listener]) -> list[Listener]:
    """Those whose streams end in time, after their speakers were told to finish; that some do not is a figure too."""
    ends = {listener.ended: listener for listener in listeners}
    done, waiting = await asyncio.wait(ends, timeout=END_SECONDS)
    for end in done:
        end.result()
    if waiting:
        print(f"{len(waiting):,} streams had not ended {END_SECONDS} s after their last token: the server is behind")
    return [ends[end] for end in ends if end in done]


async def a_few_at_once(work: Callable[[T], Awaitable[object]], items: Sequence[T]) -> None:
    """Do it for each."""
    turnstile = asyncio.Semaphore(CALLS_AT_ONCE)

    async def one(item: T) -> None:
        async with turnstile:
            await work(item)

    await asyncio.gather(*map(one, items))


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
