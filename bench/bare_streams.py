"""A bare fan-out: Starlette, one bounded queue a viewer, and nothing else; what our live streams are held against.

No log, no rights, no resuming, no catching up: a viewer that is behind misses frames. `POST /pace?bytes=250&per_s=20`
sets how large frames are and how often they come; `per_s=0` is silence, and without `per_s` the next comes as soon as
the source gets its turn again.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from bench import stamps

QUEUE_FRAMES = 8
_FRAME = (
    b"id: 5.%d\nevent: message.delta\n"
    b'data: {"message_id":"019b0000-0000-7000-8000-000000000000","turn":1,"attempt":1,"offset":%d,"text":"%b"}\n\n'
)


class Source:
    """Publishes frames to every queue at the pace that was asked for."""

    def __init__(self) -> None:
        self.queues: set[asyncio.Queue[bytes]] = set()
        self._pause: float | None = None
        self._filling = b""
        self._offset = 0
        self._changed = asyncio.Event()

    def set_pace(self, frame_bytes: int, per_second: float | None) -> None:
        self._filling = b""
        self._filling = b"x" * max(0, frame_bytes - len(self._frame()))
        self._pause = None if per_second == 0 else 1 / per_second if per_second else 0
        self._changed.set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if self._pause is None:
                self._changed.clear()
                await self._changed.wait()
                due = loop.time()
                continue
            self._publish()
            due = max(due + self._pause, loop.time())
            await asyncio.sleep(due - loop.time() if self._pause else 0)

    def _publish(self) -> None:
        frame = self._frame()
        self._offset += len(self._filling)
        for queue in self.queues:
            if not queue.full():
                queue.put_nowait(frame)

    def _frame(self) -> bytes:
        return _FRAME % (self._offset, self._offset, stamps.TOKEN % stamps.now() + self._filling)


def make_app() -> Starlette:
    source = Source()

    async def events(queue: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
        source.queues.add(queue)
        try:
            yield b"retry: 1000\n\n"
            while True:
                yield await queue.get()
        finally:
            source.queues.discard(queue)

    async def stream(request: Request) -> Response:
        return StreamingResponse(events(asyncio.Queue(QUEUE_FRAMES)), media_type="text/event-stream")

    async def pace(request: Request) -> Response:
        asked = request.query_params
        source.set_pace(int(asked.get("bytes", 0)), float(asked["per_s"]) if "per_s" in asked else None)
        return PlainTextResponse("ok")

    async def ready(request: Request) -> Response:
        return PlainTextResponse("ok")

    @asynccontextmanager
    async def publishing(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(source.run())
        yield
        task.cancel()

    routes = [Route("/stream", stream), Route("/pace", pace, methods=["POST"]), Route("/readyz", ready)]
    return Starlette(routes=routes, lifespan=publishing)


def main() -> None:
    parser = argparse.ArgumentParser(description="A bare fan-out of server-sent events.")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    uvicorn.run(
        make_app(),
        port=options.port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=4096,
    )


if __name__ == "__main__":
    main()
