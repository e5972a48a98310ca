"""A client that outlives faults: it comes back with the last id it saw, and keeps whatever it was ever promised."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import aiohttp
import orjson

from bench.viewer import Event, ViewerError

RETURN_SECONDS = 0.1
SILENCE_SECONDS = 20.0
POST_SECONDS = 30.0


class Witness:
    """Follows one discussion to its end and speaks in it; `events` are all it was told, in the order of arrival.

    Every connection may break and every request fail; only what got through counts as told. `acknowledged` holds the
    messages that the API answered with 201.
    """

    def __init__(self, http: aiohttp.ClientSession, base_url: str, token: str, discussion_id: str) -> None:
        self.discussion_id = discussion_id
        self.events: list[Event] = []
        self.acknowledged: dict[str, dict[str, Any]] = {}
        self.unanswered = 0
        self.returns = 0
        self.ended = asyncio.Event()
        self._http = http
        self._address = f"{base_url}/api/v1/discussions/{discussion_id}"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._changed = asyncio.Event()

    async def follow(self) -> None:
        """Watch until the discussion has ended, coming back after every cut to where it was."""
        while True:
            # What a fault does to a connection is no promise; that it can be gone on from elsewhere is.
            with suppress(aiohttp.ClientError, OSError, TimeoutError):
                await self._watch()
            if self.ended.is_set():
                return
            self.returns += 1
            await asyncio.sleep(RETURN_SECONDS)

    async def say(self, content: str) -> bool:
        """Say something as a person; whether it was acknowledged."""
        try:
            async with (
                asyncio.timeout(POST_SECONDS),
                self._http.post(
                    f"{self._address}/messages", json={"content": content}, headers=self._headers
                ) as answer,
            ):
                if answer.status == 201:
                    message = (await answer.json())["message"]
                    self.acknowledged[message["id"]] = message
                    return True
        except (aiohttp.ClientError, OSError, TimeoutError):
            pass
        self.unanswered += 1
        return False

    async def until(self, kind: str, seconds: float, **data: object) -> Event:
        """The first event of that type with those values in its data, told already or yet to come."""
        looked = 0
        async with asyncio.timeout(seconds):
            while True:
                for event in self.events[looked:]:
                    if event.type == kind and data.items() <= event.data.items():
                        return event
                looked = len(self.events)
                self._changed.clear()
                await self._changed.wait()

    def of_type(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.type == kind]

    def seconds_to_the_next_token(self, since: float) -> float | None:
        """From `since` (`time.perf_counter`) to the first text of an attempt that began after it; None if none came.

        What was still on its way from a worker that died is text of an older attempt.
        """
        begun: set[tuple[str, int]] = set()
        for event in self.events:
            if event.at < since:
                continue
            if event.type == "turn.retried":
                begun.add((event.data["message_id"], event.data["attempt"]))
            elif event.type == "message.delta" and (event.data["message_id"], event.data["attempt"]) in begun:
                return event.at - since
        return None

    def longest_silence(self, since: float) -> float:
        """The most seconds from `since` on that passed between two events."""
        moments = [since, *(event.at for event in self.events if event.at > since)]
        return max((later - earlier for earlier, later in pairwise(moments)), default=0.0)

    async def _watch(self) -> None:
        headers = {**self._headers, "Accept": "text/event-stream"}
        if self.events:
            headers["Last-Event-ID"] = self.events[-1].id
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=SILENCE_SECONDS)
        async with self._http.get(f"{self._address}/events", headers=headers, timeout=timeout) as answer:
            if answer.status in {401, 403, 404, 422}:
                raise ViewerError(f"the stream was refused: {answer.status} {await answer.text()}")
            if answer.status == 200:
                await self._read(answer)

    async def _read(self, answer: aiohttp.ClientResponse) -> None:
        rest = b""
        async for piece in answer.content.iter_any():
            at = time.perf_counter()
            *frames, rest = (rest + piece).split(b"\n\n")
            self.events.extend(_events(at, frames))
            self._changed.set()
            if self.events and self.events[-1].type == "discussion.ended":
                self.ended.set()
                return


def _events(at: float, frames: list[bytes]) -> Iterator[Event]:
    for frame in frames:
        fields = dict(line.split(b": ", 1) for line in frame.split(b"\n") if b": " in line and line[0] != ord(":"))
        if b"data" in fields:
            yield Event(at, fields[b"id"].decode(), fields[b"event"].decode(), orjson.loads(fields[b"data"]))
