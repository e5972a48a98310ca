"""One call through pydantic-ai: our request in, texts and the end out."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import httpx2
from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import (
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
)
from pydantic_ai.models import Model, StreamedResponse
from pydantic_ai.usage import RequestUsage

from app.domain.prompt import ToolCall
from app.services.providers.base import ChatRequest, Finished, ModelDisconnected, ModelError, ModelMalformed
from app.services.providers.openai_tools import CUT_SHORT, MAX_CALLS_CHARACTERS, MOST_TOOL_CALLS, storable
from app.services.providers.pydantic_ai import Connection
from app.services.providers.sdks.clients import opened
from app.services.providers.sdks.failures import failure_of
from app.services.providers.sdks.prompt import messages_of, parameters_of, settings_of


class SdkCalls:
    """The calls of one provider: `make_model` gives pydantic-ai's model of a name."""

    def __init__(
        self, connection: Connection, make_model: Callable[[str], Model], close: Callable[[], Awaitable[None]]
    ) -> None:
        self._connection = connection
        self._make_model = make_model
        self._close = close

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | Finished, None]:
        connection = self._connection
        answers: list[httpx2.Response] = []
        opened.set(answers)
        try:
            async with model_request_stream(
                self._make_model(request.model),
                messages_of(request),
                model_settings=settings_of(request),
                model_request_parameters=parameters_of(request),
                instrument=False,
            ) as reply:
                async with aclosing(_texts(connection, reply)) as texts:
                    async for text in texts:
                        yield text
                yield _end(connection, reply)
        except ModelError:
            raise
        except Exception as error:
            raise failure_of(error, connection.host, connection.secrets, connection.timeouts) from None
        finally:
            for answer in answers:
                await answer.aclose()

    async def close(self) -> None:
        await self._close()


async def _texts(connection: Connection, reply: StreamedResponse) -> AsyncGenerator[str, None]:
    asked_characters = 0
    async for event in reply:
        asked_characters += _asked(event)
        if asked_characters > MAX_CALLS_CHARACTERS:
            raise _malformed(connection, "its tool calls are too long")
        yield _text(event)


def _text(event: ModelResponseStreamEvent) -> str:
    """The first piece of a text comes with the part that it begins."""
    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        return event.part.content
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return event.delta.content_delta
    return ""


def _asked(event: ModelResponseStreamEvent) -> int:
    """How many characters of tool calls it holds."""
    if isinstance(event, PartStartEvent) and isinstance(event.part, ToolCallPart):
        return len(event.part.tool_name) + len(event.part.args_as_json_str())
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, ToolCallPartDelta):
        return len(str(event.delta.args_delta or "")) + len(event.delta.tool_name_delta or "")
    return 0


def _end(connection: Connection, reply: StreamedResponse) -> Finished:
    response = reply.get()
    reason = _reason(connection, response)
    prompt_tokens, completion_tokens = _tokens(response.usage)
    calls = [part for part in response.parts if isinstance(part, ToolCallPart)]
    if len(calls) > MOST_TOOL_CALLS:
        raise _malformed(connection, f"it asks for more than {MOST_TOOL_CALLS} tools at once")
    if not calls or reason in CUT_SHORT:
        return Finished("stop" if reason == "tool_calls" else reason, prompt_tokens, completion_tokens)
    wanted = tuple(
        ToolCall(part.tool_call_id, storable(part.tool_name), storable(part.args_as_json_str()) or "{}")
        for part in calls
    )
    if not all(call.name for call in wanted):
        raise _malformed(connection, "a tool call has no name")
    return Finished("tool_calls", prompt_tokens, completion_tokens, wanted)


def _reason(connection: Connection, response: ModelResponse) -> str:
    if response.finish_reason == "error":
        raise _malformed(connection, "the model did not keep to the form of an answer")
    if response.finish_reason is not None:
        return "tool_calls" if response.finish_reason == "tool_call" else response.finish_reason
    if told := (response.provider_details or {}).get("finish_reason"):
        return str(told).lower()
    raise ModelDisconnected(f"{connection.host} ended the reply before its end")


def _tokens(usage: RequestUsage) -> tuple[int | None, int | None]:
    """None where nothing was told, which pydantic-ai counts as nothing."""
    if not usage.input_tokens and not usage.output_tokens:
        return None, None
    return usage.input_tokens, usage.output_tokens


def _malformed(connection: Connection, why: str) -> ModelMalformed:
    return ModelMalformed(f"{connection.host} sent a reply that is not understood: {why}")
