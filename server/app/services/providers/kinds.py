"""A client for each kind of provider that a workspace can bring, or the operator name."""

from app.core.address_guard import AddressGuard
from app.services.providers.base import ChatModel, ModelTimeouts
from app.services.providers.openai_compatible import OpenAICompatibleModel
from app.services.providers.pace import Pace
from app.services.providers.pydantic_ai import Connection, ProviderNotInstalled, PydanticAIModel, SdkKind

DEFAULT_BASE_URLS = {
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
    "bedrock": "https://bedrock-runtime.us-east-1.amazonaws.com",
    "mistral": "https://api.mistral.ai",
    "groq": "https://api.groq.com/openai/v1",
}
"""Where a provider of a kind is, unless it says otherwise; that of an `openai_compatible` one must be given."""

_SDK_KINDS: dict[str, SdkKind] = {
    "anthropic": "anthropic",
    "google": "google",
    "bedrock": "bedrock",
    "mistral": "mistral",
}


def make_model(
    kind: str,
    base_url: str | None,
    api_key: str | None,
    timeouts: ModelTimeouts | None = None,
    pace: Pace | None = None,
    guard: AddressGuard | None = None,
) -> ChatModel:
    """The client of a provider; nothing is imported or connected to before its first call.

    Without a `guard` any address may be reached, which is for what the operator named. Amazon Bedrock's region is in
    its `base_url` (`https://bedrock-runtime.<region>.amazonaws.com`), and its `api_key` is `ACCESS_KEY_ID:SECRET`,
    `ACCESS_KEY_ID:SECRET:SESSION_TOKEN`, or a Bedrock API key, which has no colon.
    """
    address = base_url or DEFAULT_BASE_URLS.get(kind)
    if address is None or kind not in {"openai_compatible", *DEFAULT_BASE_URLS}:
        raise ProviderNotInstalled(f"providers of the kind {kind} cannot be used by this installation")
    sdk = _SDK_KINDS.get(kind)
    if sdk is None:
        return OpenAICompatibleModel(address, api_key, timeouts, pace, guard)
    return PydanticAIModel(sdk, Connection(address, api_key or "", timeouts or ModelTimeouts(), guard), pace)
