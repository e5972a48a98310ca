"""Chat models behind an OpenAI-compatible endpoint, streamed.

This is the hot path: one delta per network read, one timer per reply, no object per token.
"""

import asyncio
import io
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import aiohttp
import orjson
from aiohttp.client_proto import ResponseHandler

from app.core.address_guard import AddressGuard, Unreachable
from app.core.public_addresses import ForbiddenAddress
from app.services.providers.base import (
    ChatRequest,
    Finished,
    ModelDisconnected,
    ModelMalformed,
    ModelTimedOut,
    ModelTimeouts,
    TextDelta,
)
from app.services.providers.deadline import Deadline, Phase
from app.services.providers.endpoint import Endpoint
from app.services.providers.openai_errors import complaint_in, error_in, refusal, stream_error
from app.services.providers.openai_reply import ReplyReader
from app.services.providers.openai_tools import CallingReplyReader, message_as_sent, tools_as_sent
from app.services.providers.pace import Pace

_MAX_ERROR_BYTES = 64 * 1024
_MAX_MODELS_BYTES = 4 * 1024 * 1024
_LARGE_BODY_BYTES = 1024 * 1024
_AFTER_FINISH_SECONDS = 2.0  # for the usage; some servers neither send it nor end the stream
_AFTER_DONE_SECONDS = 0.05  # for the end of the response, without which the connection cannot be used again
_NO_STREAM = ("application/json", "text/html")


class _Connection(ResponseHandler):
    """Can be left unread for a while, and resumes nothing that was not paused.

    aiohttp resumes for each chunk of HTTP that is taken, thus for each token. Once it has paused it is left to do so:
    its parser may hold what only a further call brings out.
    """

    _was_paused = False

    def pause_reading(self) -> None:
        self._was_paused = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        if self._was_paused:
            super().resume_reading(resume_parser)

    @property
    def is_encrypted(self) -> bool:
        return self.transport is not None and self.transport.get_extra_info("ssl_object") is not None

    def leave_unread(self) -> None:
        """What comes waits in the kernel until `read_on`."""
        self._pause_reading_for_buffer()

    def read_on(self) -> None:
        self._resume_reading_for_buffer()


class _Connector(aiohttp.TCPConnector):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        connection: type[ResponseHandler] = _Connection
        self._factory = partial(connection, loop=self._loop)


class OpenAICompatibleModel:
    """One endpoint; all its calls share a pool of connections. Use it from one event loop."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        timeouts: ModelTimeouts | None = None,
        pace: Pace | None = None,
        guard: AddressGuard | None = None,
    ) -> None:
        """`base_url` includes the version, as in `https://api.openai.com/v1`; with a `guard` it is a workspace's."""
        self._pace = pace or Pace()
        self._endpoint = endpoint = Endpoint(base_url, api_key, timeouts, guard, _Connector)
        self._chat_url = endpoint.url / "chat/completions"
        self._models_url = endpoint.url / "models"
        self._host, self._key, self._timeouts = endpoint.host, endpoint.key, endpoint.timeouts
        # OpenAI's newer models refuse `max_tokens`; elsewhere the new name is often unknown.
        self._max_tokens_name = "max_completion_tokens" if endpoint.url.host == "api.openai.com" else "max_tokens"

    async def stream(self, request: ChatRequest) -> AsyncGenerator[TextDelta | Finished, None]:
        """Yield the reply as it arrives, `Finished` last; raise a `ModelError` otherwise.

        Closing the generator early closes the connection, so that the provider stops. So does coming to `max_tokens`
        where the provider does not end the reply itself (`TokenLimit`): it then ends with the reason `length`.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        response = await self._send(self._encode(request), started)
        reader = CallingReplyReader if request.tools else ReplyReader
        reply = reader(self._host, secret=self._key, max_tokens=request.max_tokens)
        deadline = Deadline(
            started + self._timeouts.total_seconds,
            lambda phase: response.content.set_exception(self._endpoint.timed_out(phase)),
        )
        try:
            deadline.wait_until(started + self._timeouts.first_token_seconds, "first_token")
            await self._check(response)
            with self._pace.speaking():
                is_first, rest = True, 0.0
                while text := await self._next_text(response.content, reply, deadline, started, rest):
                    deadline.rest()
                    yield TextDelta(text)
                    rest = 0.0 if is_first or reply.complete else self._pace.rest_seconds(len(text))
                    is_first = False
                    if rest:
                        rest = await self._rest(response, rest)
            yield reply.result()
        finally:
            deadline.close()
            response.close()  # a response read to its end has given its connection back already

    async def list_models(self) -> list[str]:
        """The names that the endpoint offers."""
        try:
            async with (
                asyncio.timeout(self._timeouts.connect_seconds + self._timeouts.idle_seconds),
                self._endpoint.session().get(self._models_url, allow_redirects=False) as response,
            ):
                await self._check(response)
                document = orjson.loads(await _read(response.content, _MAX_MODELS_BYTES))
                return [str(model["id"]) for model in document["data"]]
        except (orjson.JSONDecodeError, LookupError, TypeError):
            raise ModelMalformed(f"{self._host} sent a list of models that is not understood") from None
        except TimeoutError:
            raise self._endpoint.timed_out("total") from None
        except (aiohttp.ClientError, OSError, ForbiddenAddress, Unreachable) as problem:
            self._endpoint.unreachable(problem)

    async def close(self) -> None:
        await self._endpoint.close()

    async def _next_text(
        self, content: aiohttp.StreamReader, reply: ReplyReader, deadline: Deadline, started: float, rest: float
    ) -> str:
        """Read until there is text; "" at the end of the reply, the connection then being free for the next.

        For `rest` seconds from now on nothing can be heard, so they are no silence.
        """
        now = asyncio.get_running_loop().time
        silent_since = now() + rest
        while not reply.done and reply.failure is None:
            if reply.complete:
                deadline.wait_until(silent_since + min(_AFTER_FINISH_SECONDS, self._timeouts.idle_seconds), "idle")
            elif reply.begun:
                deadline.wait_until(silent_since + self._timeouts.idle_seconds, "idle")
            else:
                deadline.wait_until(started + self._timeouts.first_token_seconds, "first_token")
            received = await self._read(content, reply)
            text = reply.feed(received) if received else reply.finish()
            if text:
                return text
            if not received:
                return ""
            if reply.progressed:
                silent_since = max(silent_since, now())
        if reply.failure is not None:
            raise reply.failure
        if not content.is_eof() and not reply.cut:
            deadline.wait_until(now() + _AFTER_DONE_SECONDS, "idle")
            await self._read(content, reply)
        return ""

    async def _read(self, content: aiohttp.StreamReader, reply: ReplyReader) -> bytes:
        """What has arrived; b"" at the end, also at a bad end that comes after a whole reply."""
        try:
            return await content.readany()
        except ModelTimedOut:
            if reply.complete:
                return b""
            raise
        except (aiohttp.ClientError, OSError):
            if reply.complete:
                return b""
            raise ModelDisconnected(f"{self._host} broke the connection before the end of the reply") from None

    async def _rest(self, response: aiohttp.ClientResponse, seconds: float) -> float:
        """Let what comes meanwhile join; return for how many seconds from now on nothing can be heard."""
        connection = response.connection
        protocol = connection.protocol if connection is not None else None
        if not isinstance(protocol, _Connection):
            return 0.0  # the response is at its end
        if protocol.is_encrypted:
            # What a paused TLS transport has read is lost if the connection ends meanwhile; so it gathers here.
            await asyncio.sleep(seconds)
            return 0.0
        protocol.leave_unread()
        self._pace.after(seconds, protocol.read_on)
        return seconds

    async def _send(self, body: bytes, started: float) -> aiohttp.ClientResponse:
        phase: Phase = "first_token"
        seconds = self._timeouts.first_token_seconds
        if self._timeouts.total_seconds < seconds:
            phase, seconds = "total", self._timeouts.total_seconds
        try:
            async with asyncio.timeout_at(started + seconds):
                return await self._post(body)
        except aiohttp.ConnectionTimeoutError:
            raise self._endpoint.timed_out("connect") from None
        except TimeoutError:
            raise self._endpoint.timed_out(phase) from None
        except (aiohttp.ClientError, OSError, ValueError, ForbiddenAddress, Unreachable) as problem:
            self._endpoint.unreachable(problem)

    async def _post(self, body: bytes) -> aiohttp.ClientResponse:
        session = self._endpoint.session()
        # aiohttp warns about large bodies as bytes; as a file it sends them in pieces.
        data = body if len(body) < _LARGE_BODY_BYTES else io.BytesIO(body)
        try:
            return await session.post(self._chat_url, data=data, allow_redirects=False)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as problem:
            if isinstance(problem, aiohttp.ClientConnectorError):
                raise
            # A kept connection may be closed by the server just as it is used again.
            return await session.post(self._chat_url, data=io.BytesIO(body), allow_redirects=False)

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        """Raise unless what follows is a stream (or, for a list of models, a document)."""
        is_stream = response.method != "POST" or response.content_type not in _NO_STREAM
        if response.status == 200 and is_stream:
            return
        try:
            body = await _read(response.content, _MAX_ERROR_BYTES)
        except (aiohttp.ClientError, OSError, ModelTimedOut):
            body = b""  # the status says enough
        if response.status != 200:
            complaint = complaint_in(body, secret=self._key)
            raise refusal(self._host, response.status, complaint, retry_after=response.headers.get("Retry-After"))
        if error := error_in(body):
            raise stream_error(self._host, error, secret=self._key)
        raise ModelMalformed(f"{self._host} answered with {response.content_type} instead of a stream")

    def _encode(self, request: ChatRequest) -> bytes:
        body: dict[str, Any] = {
            "model": request.model,
            "stream": True,
            "stream_options": {"include_usage": True},
            self._max_tokens_name: request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "frequency_penalty": request.frequency_penalty,
            "presence_penalty": request.presence_penalty,
            "seed": request.seed,
            "stop": list(request.stop) or None,
            "response_format": _response_format(request.response_schema),
            "tools": tools_as_sent(request.tools) or None,
            "tool_choice": "none" if request.tools and not request.may_call_tools else None,
            "messages": [message_as_sent(message) for message in request.messages],
        }
        return orjson.dumps({name: value for name, value in body.items() if value is not None})


def _response_format(schema: dict[str, Any] | None) -> dict[str, Any] | None:
    if schema is None:
        return None
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


async def _read(content: aiohttp.StreamReader, limit: int) -> bytes:
    """At most `limit` bytes, or all there are."""
    body = bytearray()
    while len(body) < limit and (received := await content.readany()):
        body += received
    return bytes(body[:limit])
