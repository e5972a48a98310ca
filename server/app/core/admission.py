"""Admission under overload: who is worked on, who waits a moment, and who is told to come back.

Always holds: of requests that are not critical no more are worked on at once than the database has connections for,
less those kept for critical ones, so that a `pause` never queues behind a list, and fewer where the event loop has no
time left and a crowd waits, since they only delay each other then; each class has a queue with an end, and
a wait with an end; whoever cannot be taken gets 503 `overloaded` with `Retry-After` before anything was done for them.

How long one may wait depends on how long there has been a queue (CoDel, RFC 8289, as adapted to requests by Maurer,
"Fail at Scale", 2015): a burst is worked off with patience, while in lasting overload a long wait helps nobody, since
what comes out of the queue has been given up by who asked. Lists and exports give way first, also when it is this
process's own event loop that comes too late: then there are more requests than it has time for, however few it works
on. Critical requests have a queue of their own, served before the others, and are turned away last.

A live stream counts while it is opened, not while it lasts; `ON_BEGIN` tells when it is open.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic, thread_time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.bodies import BODY
from app.core.error_handlers import problem
from app.core.headers import header_of
from app.core.monitoring import IS_SHED, ON_BEGIN
from app.core.requests import LoadClass, load_class

log = structlog.stdlib.get_logger(__name__)

PATIENT_SECONDS, IMPATIENT_SECONDS = 5.0, 0.25
STANDING_SECONDS = 5.0
"""A queue that has not been empty for so long will not be soon."""
BULK_LAG_SECONDS, INTERACTIVE_LAG_SECONDS = 0.1, 0.5
BUSY_SHARE, BUSY_AT_ONCE = 0.85, 3
"""Of its time the loop's thread works so much: then what is done at once only makes the steps of each other longer."""
CROWD = 2
"""So many times as many wait as are worked on."""
LOOK_SECONDS, LOOKS = 0.05, 8
REPORT_SECONDS = 5.0
KEPT_FOR_CRITICAL = 2
PLACE = "arena.place"
"""Where the scope holds the request's place."""
MOST_DISTANT = 100
_EVENT_STREAM = (b"content-type", b"text/event-stream; charset=utf-8")
RETRY_SECONDS = {LoadClass.CRITICAL: 1, LoadClass.DISTANT: 5, LoadClass.INTERACTIVE: 2, LoadClass.BULK: 5}


class Overloaded(Exception):
    """There is no place for this request now."""


@dataclass
class _Line:
    """A class's requests: those that are worked on, and those that wait for it, first come, first served."""

    at_once: int
    most_waiting: int
    running: int = 0
    waiting: deque[asyncio.Future[bool]] = field(default_factory=deque)
    queued_since: float | None = None

    def patience(self, now: float) -> float:
        """How long one who comes now may wait."""
        stands = self.queued_since is not None and now - self.queued_since > STANDING_SECONDS
        return IMPATIENT_SECONDS if stands else PATIENT_SECONDS

    def leave(self, turn: asyncio.Future[bool]) -> None:
        with suppress(ValueError):
            self.waiting.remove(turn)

    def has_waiting(self) -> bool:
        while self.waiting and self.waiting[0].done():  # gave up
            self.waiting.popleft()
        if not self.waiting:
            self.queued_since = None
        return bool(self.waiting)


class Places:
    """The places of one process; `lag_seconds` is how late its event loop is."""

    def __init__(self, connections: int, most_waiting: int) -> None:
        common = max(1, connections - KEPT_FOR_CRITICAL)
        self._common = common
        self.lag_seconds = 0.0
        self.is_busy = False
        self.lines = {
            LoadClass.CRITICAL: _Line(max(2, connections), most_waiting),
            LoadClass.DISTANT: _Line(MOST_DISTANT, MOST_DISTANT),
            LoadClass.INTERACTIVE: _Line(common, most_waiting),
            LoadClass.BULK: _Line(max(1, common * 3 // 4), max(1, most_waiting // 4)),
        }

    @property
    def waiting(self) -> int:
        return sum(len(line.waiting) for line in self.lines.values())

    async def take(self, kind: LoadClass) -> None:
        """Get a place, perhaps after waiting for one; raise `Overloaded`."""
        line = self.lines[kind]
        if not line.has_waiting() and self._has_room(kind):
            if self._is_late(kind):
                raise Overloaded
            line.running += 1
            return
        if len(line.waiting) >= line.most_waiting or self._is_late(kind):
            raise Overloaded
        await self._wait(line)

    def give_back(self, kind: LoadClass) -> None:
        self.lines[kind].running -= 1
        self._admit()

    async def _wait(self, line: _Line) -> None:
        now = monotonic()
        if line.queued_since is None:
            line.queued_since = now
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        line.waiting.append(turn)
        # No `asyncio.timeout`: it costs several times as much as the wait.
        end = loop.call_later(line.patience(now), _give_up, turn)
        try:
            is_admitted = await turn
        except BaseException:
            if _was_admitted(turn):
                line.running -= 1
                self._admit()
            else:
                line.leave(turn)
            raise
        finally:
            end.cancel()
        if not is_admitted:
            line.leave(turn)
            self._admit()  # there may be no crowd any more
            raise Overloaded

    def _admit(self) -> None:
        """Let in whoever there is room for, the more important first."""
        for kind, line in self.lines.items():
            while line.has_waiting() and self._has_room(kind):
                line.running += 1
                line.waiting.popleft().set_result(True)

    def _has_room(self, kind: LoadClass) -> bool:
        line = self.lines[kind]
        if kind in {LoadClass.CRITICAL, LoadClass.DISTANT}:
            return line.running < line.at_once
        common = self.lines[LoadClass.INTERACTIVE].running + self.lines[LoadClass.BULK].running
        return common < self._common_at_once() and line.running < line.at_once

    def _common_at_once(self) -> int:
        """For what is not critical: fewer where there is much to do and no time left, since they delay each other."""
        waiting = len(self.lines[LoadClass.INTERACTIVE].waiting) + len(self.lines[LoadClass.BULK].waiting)
        is_crowded = self.is_busy and waiting > self._common * CROWD
        return min(BUSY_AT_ONCE, self._common) if is_crowded else self._common

    def _is_late(self, kind: LoadClass) -> bool:
        if kind is LoadClass.BULK:
            return self.lag_seconds > BULK_LAG_SECONDS
        return kind is LoadClass.INTERACTIVE and self.lag_seconds > INTERACTIVE_LAG_SECONDS

    async def watch_the_loop(self) -> None:
        """Measure how late the event loop is, and whether it has time left.

        The lag is the least of the last looks, so that one long step is no overload.
        """
        loop = asyncio.get_running_loop()
        lags = deque([0.0] * LOOKS, LOOKS)
        spent = deque([(loop.time(), thread_time())], LOOKS)
        while True:
            due = loop.time() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            now = loop.time()
            lags.append(max(0.0, now - due))
            self.lag_seconds = min(lags)
            began, used = spent[0]
            spent.append((now, thread_time()))
            self.is_busy = spent[-1][1] - used > BUSY_SHARE * (now - began)
            self._admit()


def _give_up(turn: asyncio.Future[bool]) -> None:
    if not turn.done():
        turn.set_result(False)


def _was_admitted(turn: asyncio.Future[bool]) -> bool:
    return turn.done() and not turn.cancelled() and turn.result()


class Admission:
    """Pure ASGI: a request has a place for as long as it is worked on."""

    def __init__(self, app: ASGIApp, places: Places) -> None:
        self._app = app
        self._places = places
        self._shed: dict[str, int] = {}
        self._reported_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = None
        if scope["type"] != "lifespan":
            accept = header_of(scope, b"accept")
            kind = load_class(scope.get("method", ""), scope["path"], scope.get(BODY, b""), accept)
        if kind is None:
            await self._app(scope, receive, send)
            return
        try:
            await self._places.take(kind)
        except Overloaded:
            await self._turn_away(kind, scope, receive, send)
            return
        place = scope[PLACE] = Place(self._places, kind)
        scope[ON_BEGIN].append(place.leave_if_it_stays_open)
        try:
            await self._app(scope, receive, send)
        finally:
            place.leave()

    async def _turn_away(self, kind: LoadClass, scope: Scope, receive: Receive, send: Send) -> None:
        self._note(kind)
        seconds = RETRY_SECONDS[kind]
        headers = {"Retry-After": str(seconds)}
        answer = problem(503, "overloaded", f"there is too much to do; try again in {seconds} s", headers=headers)
        scope[IS_SHED] = True
        await answer(scope, receive, send)

    def _note(self, kind: LoadClass) -> None:
        """One line every few seconds: a line a request would be work for those who are there."""
        self._shed[kind.value] = self._shed.get(kind.value, 0) + 1
        if monotonic() - self._reported_at > REPORT_SECONDS:
            log.warning("requests_turned_away", lag_ms=round(self._places.lag_seconds * 1000), **self._shed)
            self._shed.clear()
            self._reported_at = monotonic()


class Place:
    """A place that is given back once, if need be before the request ends."""

    def __init__(self, places: Places, kind: LoadClass) -> None:
        self._give_back: Callable[[LoadClass], None] | None = places.give_back
        self._kind = kind

    def leave_if_it_stays_open(self, beginning: Message) -> None:
        """Of a live stream or a socket, the work is done with its beginning."""
        if beginning["type"] == "websocket.accept" or _EVENT_STREAM in beginning["headers"]:
            self.leave()

    def leave(self) -> None:
        if self._give_back is not None:
            give_back, self._give_back = self._give_back, None
            give_back(self._kind)
