"""Google's Gemini API."""

from google.genai.types import HttpRetryOptions
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.providers.google import GoogleProvider

from app.services.providers.pydantic_ai import Connection, Sdk
from app.services.providers.sdks.clients import http_client
from app.services.providers.sdks.exchange import SdkCalls


def connect(connection: Connection) -> Sdk:
    client = http_client(connection)
    provider = GoogleProvider(
        api_key=connection.api_key,
        base_url=connection.base_url,
        http_client=client,
        retry_options=HttpRetryOptions(attempts=1),
    )
    return SdkCalls(connection, lambda name: GoogleModel(name, provider=provider), client.aclose)
