"""The live bus: drivers push token text and committed events, and never wait for Valkey.

Always holds: events and text of one discussion leave in the order they were pushed. The text of an attempt is
appended and announced in one atomic step, so what Valkey retains is exactly what viewers could have seen; once
sealed, an attempt's text cannot grow. Everything here may be lost: viewers then read the log instead.
"""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from app.core.cache import CACHE_ERRORS
from app.core.resp import packed, send_together
from app.domain.events import StoredEvent

log = structlog.stdlib.get_logger(__name__)

RETAIN_SECONDS = 180
RECONNECT_SECONDS = 0.5
OUTBOX_LIMIT = 20_000
SEALED, OUT_OF_STEP = -1, -2
# What a publication begins with.
EVENTS, TEXT = b"E", b"D"

# KEYS: text, seal. ARGV: bytes already there, text, channel, announcement, seconds to retain.
_APPEND = """
if redis.call('EXISTS', KEYS[2]) == 1 then return -1 end
local before = tonumber(ARGV[1])
if before == 0 then
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[5])
else
  if redis.call('STRLEN', KEYS[1]) ~= before then return -2 end
  redis.call('APPEND', KEYS[1], ARGV[2])
  redis.call('EXPIRE', KEYS[1], ARGV[5])
end
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 0
"""
# KEYS: text, seal. ARGV: seconds to retain.
_SEAL = """
redis.call('SET', KEYS[2], '1', 'EX', ARGV[1])
return redis.call('GET', KEYS[1])
"""


SEND_SECONDS = 2.0


def channel_of(discussion_id: UUID) -> str:
    """Its number is that of the format, so that a worker of another release is not misread."""
    return f"arena:live1:{{{discussion_id}}}"


def _keys(discussion_id: UUID, message_id: UUID, attempt: int) -> tuple[str, str]:
    base = f"arena:{{{discussion_id}}}:{message_id}:{attempt}"
    return base + ":text", base + ":seal"


def encode_events(events: Sequence[StoredEvent]) -> bytes:
    """A line of `[seq, type, created_at, visible_to]` of each, then a line with each one's payload as stored."""
    heads = orjson.dumps([(event.seq, event.type, event.created_at, event.visible_to) for event in events])
    return b"\n".join([heads, *(event.payload for event in events)])


def decode_events(data: bytes) -> list[StoredEvent]:
    heads, *payloads = data.split(b"\n")
    return [
        StoredEvent(seq, type_, created_at, payload, tuple(visible_to) if visible_to is not None else None)
        for (seq, type_, created_at, visible_to), payload in zip(orjson.loads(heads), payloads, strict=True)
    ]


class LiveMessage:
    """The growing text of one attempt, as far as it was pushed."""

    def __init__(self, discussion_id: UUID, message_id: UUID, turn: int, attempt: int) -> None:
        self.discussion_id = discussion_id
        self.message_id = message_id
        self.turn = turn
        self.attempt = attempt
        self.sealed = False
        self.closed = False
        self.queued = False
        text_key, seal_key = _keys(discussion_id, message_id, attempt)
        self._channel = channel_of(discussion_id).encode()
        self._text_key, self._seal_key = text_key.encode(), seal_key.encode()
        self._parts: list[str] = []
        self._sent_parts = 0
        self._sent_length = 0
        self._sent_bytes = 0
        self._in_flight: tuple[int, int, int] | None = None

    def add(self, text: str) -> None:
        self._parts.append(text)

    @property
    def text(self) -> str:
        """The whole text; its length is in code points."""
        if len(self._parts) > 1:
            joined = "".join(self._parts)
            if self._sent_parts == len(self._parts):
                self._parts, self._sent_parts = [joined], 1
            return joined
        return self._parts[0] if self._parts else ""

    def take_unsent(self) -> tuple[int, int, str] | None:
        """(offset in bytes, offset in code points, text) of what was not sent yet."""
        text = "".join(self._parts[self._sent_parts :])
        if not text:
            return None
        self._in_flight = (len(self._parts), self._sent_length + len(text), self._sent_bytes + len(text.encode()))
        return self._sent_bytes, self._sent_length, text

    def append_command(self, script: bytes) -> bytes | None:
        """What tells viewers of the text that was not sent yet; None if there is none."""
        unsent = self.take_unsent()
        if unsent is None:
            return None
        before_bytes, offset, text = unsent
        announcement = TEXT + orjson.dumps((str(self.message_id), self.turn, self.attempt, offset, text))
        return packed(
            *(b"EVALSHA", script, b"2", self._text_key, self._seal_key, b"%d" % before_bytes, text.encode()),
            *(self._channel, announcement, b"%d" % RETAIN_SECONDS),
        )

    def was_sent(self) -> None:
        if self._in_flight is not None:
            self._sent_parts, self._sent_length, self._sent_bytes = self._in_flight
            self._in_flight = None

    def send_all_again(self) -> None:
        """What Valkey has is not what we sent: begin anew."""
        self._sent_parts = self._sent_length = self._sent_bytes = 0
        self._in_flight = None


class _Announcement:
    """Committed events, ready for the channel."""

    __slots__ = ("command",)

    def __init__(self, discussion_id: UUID, events: Sequence[StoredEvent]) -> None:
        self.command = packed(b"PUBLISH", channel_of(discussion_id).encode(), EVENTS + encode_events(events))


class LiveBus:
    """Sends whatever is pushed in as few round trips as the traffic allows."""

    def __init__(self, cache: Redis, channels: Redis) -> None:
        """`channels` is a client of the same whose reads wait for as long as it takes."""
        self._cache = cache
        self._channels = channels
        self._append = cache.register_script(_APPEND)
        self._seal = cache.register_script(_SEAL)
        self._outbox: list[LiveMessage | _Announcement] = []
        self._wake = asyncio.Event()
        self._is_up = True

    def announce(self, discussion_id: UUID, events: Sequence[StoredEvent]) -> None:
        """Tell viewers of committed events."""
        if events and len(self._outbox) < OUTBOX_LIMIT:
            self._outbox.append(_Announcement(discussion_id, events))
            self._wake.set()

    def push(self, message: LiveMessage) -> None:
        """Tell viewers of text added to the message."""
        if not message.queued and not message.sealed:
            message.queued = True
            self._outbox.append(message)
            self._wake.set()

    async def run(self) -> None:
        """Send until cancelled. What cannot be sent is dropped; the log has it."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._outbox = self._outbox, []
            try:
                await self._send(batch)
            except CACHE_ERRORS as error:
                self._note(is_up=False, reason=type(error).__name__)
                for item in batch:
                    if isinstance(item, LiveMessage):
                        item.queued = False
                        item.send_all_again()
            if not self._is_up:
                await asyncio.sleep(RECONNECT_SECONDS)

    async def flush(self) -> None:
        """Send what is left, once; for a process that is about to end."""
        batch, self._outbox = self._outbox, []
        try:
            await self._send(batch)
        except CACHE_ERRORS as error:
            self._note(is_up=False, reason=type(error).__name__)

    async def seal(self, discussion_id: UUID, message_id: UUID, attempt: int) -> str:
        """Stop the attempt's text from growing and return what viewers were shown of it, "" if unknown."""
        try:
            text = await self._seal(keys=_keys(discussion_id, message_id, attempt), args=[RETAIN_SECONDS])
        except CACHE_ERRORS as error:
            self._note(is_up=False, reason=type(error).__name__)
            return ""
        return bytes(text).decode() if text else ""

    async def retained(self, discussion_id: UUID, message_id: UUID, attempt: int) -> str:
        """The attempt's text so far, "" if there is none or Valkey is gone."""
        try:
            text = await self._cache.get(_keys(discussion_id, message_id, attempt)[0])
        except CACHE_ERRORS:
            return ""
        return text.decode() if isinstance(text, bytes) else ""

    async def _send(self, batch: list[LiveMessage | _Announcement]) -> None:
        commands: list[bytes] = []
        sent: list[LiveMessage | None] = []
        script = self._append.sha.encode()
        for item in batch:
            if isinstance(item, _Announcement):
                commands.append(item.command)
                sent.append(None)
                continue
            item.queued = False
            # A closed message is in the log: viewers take what they miss from there.
            command = None if item.closed or item.sealed else item.append_command(script)
            if command is not None:
                commands.append(command)
                sent.append(item)
        if not sent:
            return
        results = await send_together(self._channels, commands, SEND_SECONDS)
        refusals = [result for result in results if isinstance(result, Exception)]
        unforeseen = next((error for error in refusals if not isinstance(error, NoScriptError)), None)
        self._note(is_up=unforeseen is None, reason=str(unforeseen))
        await self._settle(sent, results)

    async def _settle(self, sent: list[LiveMessage | None], results: list[object]) -> None:
        script_is_missing = False
        for message, result in zip(sent, results, strict=True):
            if message is None:
                continue
            if result == 0:
                message.was_sent()
            elif result == SEALED:
                message.sealed = True
            else:
                message.send_all_again()
                # Any other refusal (out of memory, read-only …) waits for the next text.
                if result == OUT_OF_STEP or isinstance(result, NoScriptError):
                    self.push(message)
                script_is_missing = script_is_missing or isinstance(result, NoScriptError)
        if script_is_missing:
            await self._cache.script_load(_APPEND)

    def _note(self, *, is_up: bool, reason: str | None = None) -> None:
        if is_up != self._is_up:
            self._is_up = is_up
            if is_up:
                log.info("valkey_back")
            else:
                log.warning("valkey_away", reason=reason, consequence="viewers poll the log until it is back")


__all__ = ["LiveBus", "LiveMessage", "channel_of"]
