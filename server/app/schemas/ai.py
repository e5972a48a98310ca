"""Wire types of providers of language models."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, SecretStr, model_validator

from app.schemas.agent import EndpointUrl
from app.schemas.base import Change, Line, Moment, Read, Request

ProviderKind = Literal["openai_compatible", "anthropic", "google", "bedrock", "mistral", "groq"]


def _printable(key: SecretStr) -> SecretStr:
    # It is sent in a header, where a line break would begin another one.
    text = key.get_secret_value()
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ValueError("must be printable ASCII without blanks around it")
    return key


ApiKey = Annotated[SecretStr, Field(min_length=1, max_length=4_096), AfterValidator(_printable)]


class ProviderCreate(Request):
    """A new provider; its name is unique in the workspace. Only an OpenAI-compatible one may want no key."""

    name: Line
    kind: ProviderKind
    base_url: EndpointUrl | None = Field(None, description="Of the API; needed if it is OpenAI-compatible.")
    api_key: ApiKey | None = Field(None, description="Kept sealed, and never shown again.")

    @model_validator(mode="after")
    def _is_reachable(self) -> Self:
        if self.kind == "openai_compatible" and self.base_url is None:
            raise ValueError("an openai_compatible provider needs a base_url")
        if self.kind != "openai_compatible" and self.api_key is None:
            raise ValueError(f"a provider of the kind {self.kind} needs an api_key")
        return self


class ProviderUpdate(Change):
    """Only the fields given change; the kind stays. Another `base_url` wants the `api_key` again."""

    may_be_null = frozenset({"base_url", "api_key"})

    name: Line | None = None
    base_url: EndpointUrl | None = None
    api_key: ApiKey | None = None


class ProviderRead(Read):
    """A provider, without its key."""

    id: UUID
    name: str
    kind: ProviderKind
    base_url: str | None
    has_key: bool
    key_hint: str | None = Field(description="The last four characters of a key of 20 or more.")
    created_at: Moment
    updated_at: Moment
