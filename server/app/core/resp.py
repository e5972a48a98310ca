"""Commands to Valkey packed by hand and sent together, for the one place where packing them costs the most.

Source: the Redis serialization protocol, RESP. The client library packs a command part by part and sets a timer for
each answer; here one round trip has one timer.
"""

import asyncio
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import ResponseError


def bulk_string(part: bytes) -> bytes:
    """One part of a command; what stays the same is packed once."""
    return b"$%d\r\n%b\r\n" % (len(part), part)


def array(count: int, *parts: bytes) -> bytes:
    """One command of so many bulk strings."""
    return b"*%d\r\n%b" % (count, b"".join(parts))


def packed(*parts: bytes) -> bytes:
    """One command."""
    return array(len(parts), *map(bulk_string, parts))


async def send_together(client: Redis, commands: Sequence[bytes], seconds: float) -> list[object]:
    """The answers, a refusal being the `ResponseError` that it is; raise what the client raises for all of them.

    `client` must be one whose reads wait for as long as it takes: the time-out here is for all of it.
    """
    async with asyncio.timeout(seconds):
        connection = await client.connection_pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.send_packed_command(commands, check_health=False)
            return [await _answer(connection) for _ in commands]
        except BaseException:
            # What it would answer next is an answer to nobody's question.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await client.connection_pool.release(connection)


async def _answer(connection: object) -> object:
    try:
        return await connection.read_response()  # type: ignore[attr-defined]
    except ResponseError as refusal:
        return refusal
