"""Frames of the WebSocket, subprotocol `arena.v1`: what a client may send."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, TypeAdapter

from app.schemas.base import Request, Text
from app.schemas.message import MessageCreate

Channel = Annotated[Text, StringConstraints(min_length=1, max_length=100)]
Ref = Annotated[Text, StringConstraints(max_length=64)]


class AuthFrame(Request):
    """The first frame of a socket that came without a ticket; `token` is an access token."""

    type: Literal["auth"]
    token: Annotated[Text, StringConstraints(max_length=4_000)]
    ref: Ref | None = None


class SubscribeFrame(Request):
    """Show a channel, from behind the event whose id is `after`, or from its beginning."""

    type: Literal["subscribe"]
    channel: Channel
    after: Text | None = None
    ref: Ref | None = None


class UnsubscribeFrame(Request):
    """Show nothing more of a channel."""

    type: Literal["unsubscribe"]
    channel: Channel
    ref: Ref | None = None


class MessageFrame(MessageCreate):
    """Say something in a discussion, as `POST /discussions/{id}/messages` does."""

    type: Literal["message"]
    channel: Channel
    ref: Ref | None = None


class PingFrame(Request):
    """Is anybody there?"""

    type: Literal["ping"]
    ref: Ref | None = None


ClientFrame = Annotated[
    AuthFrame | SubscribeFrame | UnsubscribeFrame | MessageFrame | PingFrame, Field(discriminator="type")
]
CLIENT_FRAME: TypeAdapter[ClientFrame] = TypeAdapter(ClientFrame)
