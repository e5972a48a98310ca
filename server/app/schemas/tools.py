"""Wire types of tools: what agents may name, and the servers that a workspace has tools from."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from app.schemas.agent import EndpointUrl
from app.schemas.ai import printable
from app.schemas.base import Change, Moment, Read, Request, Text

Transport = Literal["http", "stdio"]
ServerName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$"),
    Field(description="How agents name it: small letters, digits and `-`."),
]
Command = Annotated[
    list[Annotated[Text, StringConstraints(min_length=1, max_length=1_000)]], Field(min_length=1, max_length=50)
]
# It is cut out of whatever the server says, where a shorter one could be part of any word.
Token = Annotated[SecretStr, Field(min_length=8, max_length=4_096), AfterValidator(printable)]


class ToolServerCreate(Request):
    """A new server of tools (Model Context Protocol); its name is unique in the workspace."""

    name: ServerName
    transport: Transport
    url: EndpointUrl | None = Field(None, description="Of `http`: its endpoint of streamable HTTP.")
    token: Token | None = Field(
        None, description="Of `http`: sent as a bearer token; kept sealed, and never shown again."
    )
    command: Command | None = Field(
        None, description="Of `stdio`: a program and its arguments, exactly as the administrator allows it."
    )

    @model_validator(mode="after")
    def _fits_its_transport(self) -> Self:
        if self.transport == "http" and self.url is None:
            raise ValueError("an http server needs a url")
        if self.transport == "http" and self.command is not None:
            raise ValueError("only a stdio server has a command")
        if self.transport == "stdio" and self.command is None:
            raise ValueError("a stdio server needs a command")
        if self.transport == "stdio" and (self.url is not None or self.token is not None):
            raise ValueError("only an http server has a url and a token")
        return self


class ToolServerUpdate(Change):
    """Only the fields given change; the transport stays. Another `url` wants the `token` again."""

    may_be_null = frozenset({"token"})

    name: ServerName | None = None
    url: EndpointUrl | None = None
    token: Token | None = None
    command: Command | None = None


class ToolServerRead(Read):
    """A server of tools, without its token."""

    id: UUID
    name: str
    transport: Transport
    url: str | None
    has_token: bool
    command: list[str] | None
    created_at: Moment
    updated_at: Moment


class OfferedTool(Read):
    """A tool that a server offers; agents name it `<server>/<name>`."""

    name: str
    description: str


class ToolServerTest(Read):
    """What the server answered."""

    ok: Literal[True]
    tools: list[OfferedTool]


class ToolRead(Read):
    """What an agent's `tools` may name: a built-in tool, or all tools of a server."""

    name: str = Field(description="Such as `calculator`, or `<server>/*`, where one tool may be named instead of `*`.")
    source: Literal["built_in", "server"]
    description: str
