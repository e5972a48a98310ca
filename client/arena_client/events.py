"""Events of a stream, and what a viewer that comes back must not see again."""

import json
import re
from dataclasses import dataclass
from typing import Any

import httpx2

DISCUSSION_ENDED = "discussion.ended"
STREAM_RESET = "stream.reset"

_NUMBERS = re.compile(r"(\d+)(?:\.(\d+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event; `id` may be given as `after` to go on behind it, on any stream of the discussion."""

    id: str
    event: str
    data: dict[str, Any]


def read_event(frame: httpx2.ServerSentEvent) -> StreamEvent | None:
    """The event of a frame; None for one that only sets the time to reconnect."""
    if not frame.id or not frame.data:
        return None
    return StreamEvent(frame.id, frame.event, json.loads(frame.data))


class Cursor:
    """Where a viewer stands in a discussion, over all its connections: nothing passes twice.

    The server goes on right behind the id it is given. Should a proxy have dropped that id, or an older server begin
    anew, what was seen is recognised by its number: ids are `<seq>` or `<seq>.<n>` and grow, but for a `stream.reset`,
    after which the text being spoken is told anew. Within one connection nothing is compared.
    """

    def __init__(self, after: str | None) -> None:
        self.last_id = after
        self.has_ended = False
        self._seen_upto: tuple[int, int] | None = None

    def connected(self) -> None:
        self._seen_upto = _position(self.last_id)

    def accept(self, event: StreamEvent) -> bool:
        """Whether the viewer is to see `event`; if so it stands behind it now."""
        if self._was_seen(event):
            return False
        self._seen_upto = None
        self.last_id = event.id
        self.has_ended = event.event == DISCUSSION_ENDED
        return True

    def _was_seen(self, event: StreamEvent) -> bool:
        if self._seen_upto is None or event.event == STREAM_RESET:
            return False
        position = _position(event.id)
        return position is not None and position <= self._seen_upto


def _position(event_id: str | None) -> tuple[int, int] | None:
    match = _NUMBERS.fullmatch(event_id or "")
    return (int(match[1]), int(match[2] or 0)) if match else None
