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
from app.core.resp import array, bulk_string, packed, send_together
from app.domain.events import StoredEvent
from app.domain.speech import MARK, Speech, ToolEvent, read_speech

log = structlog.stdlib.get_logger(__name__)

RETAIN_SECONDS = 180
RECONNECT_SECONDS = 0.5
OUTBOX_LIMIT = 20_000
# While a call runs, Valkey serves nobody else: some hundred microseconds for so many.
MESSAGES_PER_CALL = 64
SEALED, OUT_OF_STEP = -1, -2
# What a publication begins with.
EVENTS, TEXT = b"E", b"D"

# Several messages at once: a call of its own for each costs more than what it does.
# KEYS: for each its text, its seal. ARGV: seconds to retain; for each the bytes already there, text, channel,
# announcement. Returns an answer for each.
_APPEND = """
local answers = {}
for i = 1, #KEYS / 2 do
  local text, seal = KEYS[2 * i - 1], KEYS[2 * i]
  local at = 4 * i - 2
  local before = tonumber(ARGV[at])
  if redis.call('EXISTS', seal) == 1 then
    answers[i] = -1
  elseif before > 0 and redis.call('STRLEN', text) ~= before then
    answers[i] = -2
  else
    if before == 0 then
      redis.call('SET', text, ARGV[at + 1], 'EX', ARGV[1])
    else
      redis.call('APPEND', text, ARGV[at + 1])
      redis.call('EXPIRE', text, ARGV[1])
    end
    redis.call('PUBLISH', ARGV[at + 2], ARGV[at + 3])
    answers[i] = 0
  end
end
return answers
"""
# KEYS: text, seal. ARGV: seconds to retain.
_SEAL = """
redis.call('SET', KEYS[2], '1', 'EX', ARGV[1])
return redis.call('GET', KEYS[1])
"""


SEND_SECONDS = 2.0
_EVALSHA, _RETAIN = bulk_string(b"EVALSHA"), bulk_string(b"%d" % RETAIN_SECONDS)


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
        self.keys = bulk_string(text_key.encode()) + bulk_string(seal_key.encode())
        self._channel = bulk_string(channel_of(discussion_id).encode())
        self._announced = TEXT + orjson.dumps((str(message_id), turn, attempt)).removesuffix(b"]")
        self._parts: list[str] = []
        self._has_tools = False
        self._sent_parts = 0
        self._sent_length = 0
        self._sent_bytes = 0
        self._in_flight: tuple[int, int, int] | None = None

    def add(self, text: str) -> None:
        self._parts.append(text if MARK not in text else text.replace(MARK, ""))

    def add_tool(self, event: ToolEvent) -> None:
        """Let the event of a tool stand between what was said before and what will be."""
        self._has_tools = True
        self._parts.append(event.as_text())

    @property
    def speech(self) -> Speech:
        """All of it."""
        return read_speech(self._joined()) if self._has_tools else Speech(self._joined())

    @property
    def text(self) -> str:
        """The words of it; their length is in code points."""
        return self.speech.content if self._has_tools else self._joined()

    def _joined(self) -> str:
        if len(self._parts) > 1:
            joined = "".join(self._parts)
            if self._sent_parts == len(self._parts):
                self._parts, self._sent_parts = [joined], 1
            return joined
        return self._parts[0] if self._parts else ""

    def take_unsent(self) -> bytes | None:
        """Of what was not sent yet, the arguments of `_APPEND`, packed; None if there is nothing."""
        text = "".join(self._parts[self._sent_parts :])
        if not text:
            return None
        data = text.encode()
        before, offset = self._sent_bytes, self._sent_length
        places = len(read_speech(text).text) if self._has_tools else len(text)
        self._in_flight = (len(self._parts), offset + places, before + len(data))
        announcement = b"%b,%d,%b]" % (self._announced, offset, orjson.dumps(text))
        return b"%b%b%b%b" % (bulk_string(b"%d" % before), bulk_string(data), self._channel, bulk_string(announcement))

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


class _Texts:
    """What one call of `_APPEND` tells."""

    __slots__ = ("_arguments", "_script", "messages")

    def __init__(self, script: bytes) -> None:
        self.messages: list[LiveMessage] = []
        self._script = script
        self._arguments: list[bytes] = []

    @property
    def is_full(self) -> bool:
        return len(self.messages) >= MESSAGES_PER_CALL

    def add(self, message: LiveMessage, arguments: bytes) -> None:
        self.messages.append(message)
        self._arguments.append(arguments)

    @property
    def command(self) -> bytes:
        count = len(self.messages)
        keys = [message.keys for message in self.messages]
        head = (_EVALSHA, bulk_string(self._script), bulk_string(b"%d" % (2 * count)))
        return array(len(head) + 1 + 6 * count, *head, *keys, _RETAIN, *self._arguments)


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

    async def seal(self, discussion_id: UUID, message_id: UUID, attempt: int) -> Speech:
        """Stop the attempt's text from growing and return what viewers were shown of it, nothing if unknown."""
        try:
            text = await self._seal(keys=_keys(discussion_id, message_id, attempt), args=[RETAIN_SECONDS])
        except CACHE_ERRORS as error:
            self._note(is_up=False, reason=type(error).__name__)
            return Speech()
        return read_speech(bytes(text).decode()) if text else Speech()

    async def retained(self, discussion_id: UUID, message_id: UUID, attempt: int) -> Speech:
        """What was said so far in the attempt, nothing if there is nothing or Valkey is gone."""
        try:
            text = await self._cache.get(_keys(discussion_id, message_id, attempt)[0])
        except CACHE_ERRORS:
            return Speech()
        return read_speech(text.decode()) if isinstance(text, bytes) else Speech()

    async def _send(self, batch: list[LiveMessage | _Announcement]) -> None:
        calls = self._calls(batch)
        if not calls:
            return
        results = await send_together(self._channels, [call.command for call in calls], SEND_SECONDS)
        refusals = [result for result in results if isinstance(result, Exception)]
        unforeseen = next((error for error in refusals if not isinstance(error, NoScriptError)), None)
        self._note(is_up=unforeseen is None, reason=str(unforeseen))
        for call, result in zip(calls, results, strict=True):
            if isinstance(call, _Texts):
                self._settle(call.messages, result)
        if any(isinstance(refusal, NoScriptError) for refusal in refusals):
            await self._cache.script_load(_APPEND)

    def _calls(self, batch: list[LiveMessage | _Announcement]) -> list[_Texts | _Announcement]:
        calls: list[_Texts | _Announcement] = []
        texts: _Texts | None = None  # the last call, if there is room in it
        for item in batch:
            if isinstance(item, _Announcement):
                calls.append(item)
                texts = None
                continue
            item.queued = False
            # A closed message is in the log: viewers take what they miss from there.
            arguments = None if item.closed or item.sealed else item.take_unsent()
            if arguments is None:
                continue
            if texts is None or texts.is_full:
                texts = _Texts(self._append.sha.encode())
                calls.append(texts)
            texts.add(item, arguments)
        return calls

    def _settle(self, messages: Sequence[LiveMessage], result: object) -> None:
        answers = result if isinstance(result, list) else [result] * len(messages)
        for message, answer in zip(messages, answers, strict=True):
            if answer == 0:
                message.was_sent()
            elif answer == SEALED:
                message.sealed = True
            else:
                message.send_all_again()
                # Any other refusal (out of memory, read-only …) waits for the next text.
                if answer == OUT_OF_STEP or isinstance(answer, NoScriptError):
                    self.push(message)

    def _note(self, *, is_up: bool, reason: str | None = None) -> None:
        if is_up != self._is_up:
            self._is_up = is_up
            if is_up:
                log.info("valkey_back")
            else:
                log.warning("valkey_away", reason=reason, consequence="viewers poll the log until it is back")


__all__ = ["LiveBus", "LiveMessage", "channel_of"]
