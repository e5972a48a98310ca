"""Our requests as pydantic-ai has them."""

from collections.abc import Iterator
from typing import cast

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from app.domain.prompt import ChatMessage
from app.services.providers.base import ChatRequest


def messages_of(request: ChatRequest) -> list[ModelMessage]:
    """In their order; what is not the model's own word is a request, and neighbours of a kind are one message."""
    names = {call.id: call.name for message in request.messages for call in message.tool_calls}
    messages: list[ModelMessage] = []
    for message in request.messages:
        last = messages[-1] if messages else None
        if message.role == "assistant":
            parts = list(_said(message))
            if isinstance(last, ModelResponse):
                last.parts = [*last.parts, *parts]
            elif parts:
                messages.append(ModelResponse(parts=parts))
        elif isinstance(last, ModelRequest):
            last.parts = [*last.parts, _heard(message, names)]
        else:
            messages.append(ModelRequest(parts=[_heard(message, names)]))
    return messages


def parameters_of(request: ChatRequest) -> ModelRequestParameters:
    tools = [
        ToolDefinition(name=tool.name, description=tool.description, parameters_json_schema=tool.parameters)
        for tool in request.tools
    ]
    if request.response_schema is None:
        return ModelRequestParameters(function_tools=tools)
    answer = OutputObjectDefinition(json_schema=request.response_schema, name="answer", strict=True)
    return ModelRequestParameters(function_tools=tools, output_mode="native", output_object=answer)


def settings_of(request: ChatRequest) -> ModelSettings:
    """Only what is given; a setting that a provider does not know is left out by pydantic-ai."""
    given = {
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "stop_sequences": list(request.stop) or None,
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
        "tool_choice": "none" if request.tools and not request.may_call_tools else None,
    }
    return cast("ModelSettings", {name: value for name, value in given.items() if value is not None})


def _heard(message: ChatMessage, names: dict[str, str]) -> ModelRequestPart:
    if message.role == "system":
        return SystemPromptPart(content=message.content)
    if message.role == "tool":
        call_id = message.tool_call_id or ""
        return ToolReturnPart(tool_name=names.get(call_id, "tool"), content=message.content, tool_call_id=call_id)
    return UserPromptPart(content=message.content)


def _said(message: ChatMessage) -> Iterator[ModelResponsePart]:
    """Empty text is left out: some providers refuse it."""
    if message.content:
        yield TextPart(content=message.content)
    for call in message.tool_calls:
        yield ToolCallPart(tool_name=call.name, args=call.arguments, tool_call_id=call.id)
