"""What can be followed as it happens."""

from arena_client.events import Cursor, DiscussionCursor
from arena_client.following import Following
from arena_client.wire import path

PATIENCE_SECONDS = 120.0


def discussion(
    discussion_id: str, after: str | None = None, *, patience_seconds: float = PATIENCE_SECONDS
) -> Following:
    """Follow the discussion from its beginning, or from behind the event whose id is `after`, to its end.

    Connections that break are made again; no event is given twice. In the place of a whisper that the caller may
    not read there is `message.withheld`. `stream.reset` and `stream.lagged` are given like any other event; what has
    to be done about the connection is done. Raises `ArenaUnreachable` (or the last `ArenaProblem`) when none could be
    had for `patience_seconds`.
    """
    return Following(path("discussions", discussion_id, "events"), DiscussionCursor(after), patience_seconds)


def notifications(after: str | None = None, *, patience_seconds: float = PATIENCE_SECONDS) -> Following:
    """Follow the changes of status of the workspace's discussions, from now on or from behind the id `after`.

    It does not end by itself: connections that break are made again. Raises as the stream of a discussion does.
    """
    return Following("/notifications", Cursor(after), patience_seconds)
