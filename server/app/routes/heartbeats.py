"""Signs of life in a stream that has nothing to say for a while."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from app.routes.sse import HEARTBEAT


async def with_heartbeats(chunks: AsyncGenerator[bytes, None], seconds: float) -> AsyncGenerator[bytes, None]:
    """The chunks, and a comment whenever none comes for so long. Closing it closes them."""
    async with aclosing(chunks):
        while True:
            coming = asyncio.ensure_future(anext(chunks, None))
            try:
                while not (await asyncio.wait({coming}, timeout=seconds))[0]:
                    yield HEARTBEAT
            finally:
                if not coming.done():
                    coming.cancel()
                    await asyncio.wait({coming})
            chunk = coming.result()
            if chunk is None:
                return
            yield chunk
