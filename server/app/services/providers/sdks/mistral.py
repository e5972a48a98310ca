"""Mistral's chat API."""

from pydantic_ai.models.mistral import MistralModel
from pydantic_ai.providers.mistral import MistralProvider

from app.services.providers.pydantic_ai import Connection, Sdk
from app.services.providers.sdks.clients import http_client
from app.services.providers.sdks.exchange import SdkCalls


def connect(connection: Connection) -> Sdk:
    client = http_client(connection)
    provider = MistralProvider(api_key=connection.api_key, base_url=connection.base_url, http_client=client)
    return SdkCalls(connection, lambda name: MistralModel(name, provider=provider), client.aclose)
