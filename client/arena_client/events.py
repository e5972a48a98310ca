"""Events of a stream, and what a viewer that comes back must not see again."""

import json
import re
from dataclasses import dataclass
from typing import Any

import httpx2

from arena_client.decode import decode
from arena_client.models import Discussion

DISCUSSION_ENDED = "discussion.ended"
STREAM_RESET = "stream.reset"
STREAM_LAGGED = "stream.lagged"
ABOUT_THE_STREAM = {STREAM_RESET, STREAM_LAGGED}

_NUMBERS = re.compile(r"(\d+)(?:\.(\d+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event; `id` may be given as `after` to go on behind it, on any stream of the same kind."""

    id: str
    event: str
    data: dict[str, Any]

    @property
    def snapshot(self) -> Discussion | None:
        """The discussion that what follows builds on, if this is a `stream.reset`."""
        snapshot = self.data.get("snapshot") if self.event == STREAM_RESET else None
        return None if snapshot is None else decode(Discussion, snapshot)


def read_event(frame: httpx2.ServerSentEvent) -> StreamEvent | None:
    """The event of a frame; None for one that only sets the time to reconnect."""
    if not frame.id or not frame.data:
        return None
    return StreamEvent(frame.id, frame.event, json.loads(frame.data))


class Cursor:
    """Where a viewer stands on a stream, over all its connections; ids are opaque.

    The server goes on right behind the id it is given. What it tells about the stream itself is always new, though it
    may bear the id of the event before.
    """

    def __init__(self, after: str | None) -> None:
        self.last_id = after
        self.has_ended = False
        self._came_back_from: str | None = None

    def connected(self) -> None:
        self._came_back_from = self.last_id

    def accept(self, event: StreamEvent) -> bool:
        """Whether the viewer is to see `event`; if so it stands behind it now."""
        if event.event not in ABOUT_THE_STREAM and self._was_seen(event.id):
            return False
        self._came_back_from = None
        self.last_id = event.id
        return True

    def _was_seen(self, event_id: str) -> bool:
        return event_id == self._came_back_from


class DiscussionCursor(Cursor):
    """Where a viewer stands in a discussion: nothing passes twice.

    Should a proxy have dropped the id that the server was given, or an older server begin anew, what was seen is
    recognised by its number: ids are `<seq>` or `<seq>.<n>` and grow, but for a `stream.reset`, after which the text
    being spoken is told anew. Within one connection nothing is compared.
    """

    def accept(self, event: StreamEvent) -> bool:
        is_new = super().accept(event)
        self.has_ended = is_new and event.event == DISCUSSION_ENDED
        return is_new

    def _was_seen(self, event_id: str) -> bool:
        position, seen_upto = _position(event_id), _position(self._came_back_from)
        return position is not None and seen_upto is not None and position <= seen_upto


def _position(event_id: str | None) -> tuple[int, int] | None:
    match = _NUMBERS.fullmatch(event_id or "")
    return (int(match[1]), int(match[2] or 0)) if match else None
