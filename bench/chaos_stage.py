"""What goes on while `make chaos` kills workers: short discussions, one after another in every place, all witnessed."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import aiohttp
import psycopg

from bench.chaos_workers import Worker
from bench.installation import Installation
from bench.record import read_record
from bench.verdict import Verdict, judge
from bench.witness import Witness

# From one word at once to three seconds a turn: a kill falls before a call, mid-stream and around commits.
PACES = (
    "tokens=1",
    "tokens=4&delay_ms=10",
    "tokens=12&delay_ms=40",
    "tokens=20&first_ms=400",
    "tokens=30&delay_ms=100",
)
TURNS = (2, 8)
BOUND_SECONDS = 120.0
WORDS_EVERY_SECONDS = 1.0
_DRIVEN = (
    "SELECT id::text FROM discussions"
    " WHERE lease_owner LIKE %s AND status = 'running' AND turn_message_id IS NOT NULL AND lease_until > now()"
)


@dataclass(frozen=True, slots=True)
class Scene:
    """One discussion, the turns it must have in the end, and the kills that hit it while it was driven."""

    witness: Witness
    turns: int
    kills: list[float]

    def recoveries(self) -> list[float]:
        """Seconds from each kill to the next token, but for kills that the next kill hit before there was one."""
        found = []
        for place, kill in enumerate(self.kills):
            seconds = self.witness.seconds_to_the_next_token(kill)
            following = self.kills[place + 1 : place + 2]
            if seconds is not None and (not following or kill + seconds < following[0]):
                found.append(seconds)
        return found


class Stage:
    """Keeps so many discussions going until told to finish."""

    def __init__(self, arena: Installation, dice: random.Random, places: int) -> None:
        self._arena = arena
        self._dice = random.Random(dice.random())
        self._places = places
        self._scenes: list[Scene] = []
        self._over = asyncio.Event()
        self._agents: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def recoveries(self) -> list[float]:
        return [seconds for scene in self._scenes for seconds in scene.recoveries()]

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[None]:
        self._agents = [await self._make_agent(number, pace) for number, pace in enumerate(PACES, 1)]
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, trust_env=False) as http:
            self._tasks = [asyncio.create_task(self._play(http)) for _ in range(self._places)]
            try:
                yield
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def strike(self, worker: Worker) -> None:
        """Kill the worker, and remember what it was driving: asked the instant before, in the same breath."""
        with psycopg.connect(self._arena.database_url, autocommit=True) as connection:
            driven = {row[0] for row in connection.execute(_DRIVEN, [f"%:{worker.pid}"])}
            worker.process.kill()
        killed = time.perf_counter()
        worker.process.wait(5)
        for scene in self._scenes:
            if scene.witness.discussion_id in driven and not scene.witness.ended.is_set():
                scene.kills.append(killed)

    async def finish(self) -> None:
        """Begin no other discussion, and let those end that go on."""
        self._over.set()
        await asyncio.gather(*self._tasks)

    async def verdict(self) -> Verdict:
        total = Verdict()
        for scene in self._scenes:
            witness = scene.witness
            record = await asyncio.to_thread(read_record, self._arena.database_url, witness.discussion_id)
            one = judge(record, witness.events, witness.acknowledged, turns=scene.turns)
            total.include(one, witness.discussion_id)
        return total

    def progress(self) -> str:
        witnesses = [scene.witness for scene in self._scenes]
        ended = sum(witness.ended.is_set() for witness in witnesses)
        words = sum(len(witness.acknowledged) for witness in witnesses)
        retried = sum(event.type == "turn.retried" for witness in witnesses for event in witness.events)
        return f"{ended} discussions ended, {len(witnesses) - ended} open, {words} words of people, {retried} retries"

    async def _make_agent(self, number: int, pace: str) -> str:
        body = {"name": f"Speaker {number}", "persona": "You speak.", "model": f"openai/fake?{pace}", "kind": "llm"}
        agent: str = (await self._arena.call("POST", "/agents", body))["id"]
        return agent

    async def _play(self, http: aiohttp.ClientSession) -> None:
        """One discussion after another; one that does not end in time is left to the verdict."""
        while not self._over.is_set():
            scene = await self._open(http)
            self._scenes.append(scene)
            await self._arena.call("POST", f"/discussions/{scene.witness.discussion_id}/start")
            follow = asyncio.create_task(scene.witness.follow())
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(BOUND_SECONDS):
                        await self._speak_until_ended(scene.witness, follow)
            finally:
                follow.cancel()

    async def _open(self, http: aiohttp.ClientSession) -> Scene:
        turns = self._dice.randint(*TURNS)
        body = {
            "topic": "Who is still there?",
            "participants": [{"agent_id": agent} for agent in self._dice.sample(self._agents, 2)],
            "limits": {"max_turns": turns},
            "start": False,
        }
        discussion = await self._arena.call("POST", "/discussions", body)
        return Scene(Witness(http, self._arena.base_url, self._arena.token, discussion["id"]), turns, [])

    async def _speak_until_ended(self, witness: Witness, follow: "asyncio.Task[None]") -> None:
        while not follow.done():
            await asyncio.wait([follow], timeout=WORDS_EVERY_SECONDS * self._dice.uniform(0.2, 3))
            if not follow.done():
                await witness.say("Does anybody hear me?")
        follow.result()
