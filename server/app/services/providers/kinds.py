"""From a provider's kind to its client."""

from app.core.address_guard import AddressGuard
from app.services.providers.base import ChatModel, ModelError, ModelTimeouts
from app.services.providers.openai_compatible import OpenAICompatibleModel
from app.services.providers.pace import Pace

BASE_URLS = {"groq": "https://api.groq.com/openai/v1"}
"""Of kinds that speak OpenAI's protocol at an address of their own."""


class ProviderNotInstalled(ModelError):
    """No client for providers of that kind is installed here."""

    code = "provider_not_installed"
    retryable = False


def make_model(
    kind: str,
    base_url: str | None,
    api_key: str | None,
    timeouts: ModelTimeouts | None = None,
    pace: Pace | None = None,
    guard: AddressGuard | None = None,
) -> ChatModel:
    """A client; raise `ProviderNotInstalled`."""
    address = base_url or BASE_URLS.get(kind)
    if kind not in {"openai_compatible", *BASE_URLS} or address is None:
        raise ProviderNotInstalled(f"providers of the kind {kind} cannot be used by this installation")
    return OpenAICompatibleModel(address, api_key, timeouts, pace, guard)
