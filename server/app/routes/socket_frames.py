"""Frames of the WebSocket on the wire: JSON in text frames."""

from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect

from app.core.error_handlers import sentence_of
from app.core.errors import ArenaError, Invalid, TooLarge
from app.schemas.socket import CLIENT_FRAME, ClientFrame
from app.services.live.frames import Frame

# The longest message in the clumsiest JSON: every character as two escapes.
FRAME_CHARACTERS = 800_000
SHOWN_CHARACTERS = 200


class MalformedFrame(Invalid):
    """The frame is no JSON object of a type that there is."""

    code = "malformed_frame"


class BinaryFrame(Invalid):
    """Frames are text."""

    code = "binary_frame"


async def receive_text(websocket: WebSocket) -> str:
    """The next frame; raise `WebSocketDisconnect` when there will be none, `BinaryFrame` or `TooLarge`."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1005, message.get("reason"))
    text: str | None = message.get("text")
    if text is None:
        raise BinaryFrame("frames must be text frames of JSON; a binary one is not read")
    if len(text) > FRAME_CHARACTERS:
        raise TooLarge(f"the frame is over the limit of {FRAME_CHARACTERS} characters")
    return text


def read_frame(text: str) -> ClientFrame:
    """Raise `MalformedFrame` for what is no frame of the protocol, `Invalid` for one with something wrong in it."""
    try:
        return CLIENT_FRAME.validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
    sentence = sentence_of(fault)[:SHOWN_CHARACTERS]
    if not fault["loc"]:  # not even its type is known
        raise MalformedFrame(f"this is no frame of the protocol: {sentence}")
    place = [str(part)[:SHOWN_CHARACTERS] for part in fault["loc"][1:]]
    raise Invalid(f"{'.'.join(place)}: {sentence}", *place)


def ref_of(text: str) -> str | None:
    """The `ref` of a frame with something else wrong in it, as far as there is one."""
    try:
        frame = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    ref = frame.get("ref") if isinstance(frame, dict) else None
    return ref if isinstance(ref, str) and len(ref) <= 64 else None


async def send(websocket: WebSocket, frame: dict[str, Any]) -> None:
    await websocket.send({"type": "websocket.send", "text": orjson.dumps(frame).decode()})


def answer(kind: str, ref: str | None, **fields: Any) -> dict[str, Any]:
    """A frame that answers one of the client's."""
    return {"type": kind, **fields, **({} if ref is None else {"ref": ref})}


def error_frame(error: ArenaError, channel: str | None = None, ref: str | None = None) -> dict[str, Any]:
    frame = {"type": "error", "code": error.code, "detail": error.detail}
    if channel is not None:
        frame["channel"] = channel
    return frame if ref is None else {**frame, "ref": ref}


def as_event_frames(frames: Sequence[Frame]) -> list[str]:
    """What follows the channel in the `event` frames; the same for all who see the discussion."""
    return [f',"id":"{frame.event_id}","event":"{frame.event}","data":{frame.data.decode()}}}' for frame in frames]


def event_frame_of(channel: str) -> str:
    """What comes before that."""
    return f'{{"type":"event","channel":{orjson.dumps(channel).decode()}'
