"""Anthropic's messages API."""

from anthropic import AsyncAnthropic
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

from app.services.providers.pydantic_ai import Connection, Sdk
from app.services.providers.sdks.clients import http_client
from app.services.providers.sdks.exchange import SdkCalls


def connect(connection: Connection) -> Sdk:
    client = http_client(connection)
    anthropic = AsyncAnthropic(
        api_key=connection.api_key,
        base_url=connection.base_url,
        max_retries=0,  # ours are between turns
        http_client=client,
    )
    anthropic._custom_headers = {}  # those of ANTHROPIC_CUSTOM_HEADERS are the operator's, and may hold a key
    provider = AnthropicProvider(anthropic_client=anthropic)
    return SdkCalls(connection, lambda name: AnthropicModel(name, provider=provider), client.aclose)
