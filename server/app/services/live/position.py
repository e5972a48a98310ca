"""Where a viewer stands, as its event ids say: `<seq>` or `<seq>.<n>`.

`<seq>` is the last durable event the viewer was given, `<n>` how many code points of the message then being spoken.
That is all there is to remember of a viewer, so it can come back with any id, to any replica.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from app.core.errors import Invalid
from app.domain.visibility import EVERYBODY, Reader

# An agent's longest reply is cut far below it, whatever its provider sends (`providers.token_limit`).
MOST_CHARACTERS_SPOKEN = 800_000
_EVENT_ID = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?", re.ASCII)


class BadEventId(Invalid):
    """The id is none that a stream gave."""

    code = "bad_event_id"


class EventIdAhead(Invalid):
    """The id is beyond the end of the log, or of any message."""

    code = "event_id_ahead"


@lru_cache(maxsize=8192)
def message_id_of(text: str) -> UUID:
    """The same object for the same text: each piece of a message names it, and what is identical is equal at once."""
    return UUID(text)


class OpenMessage(NamedTuple):
    """A message being spoken. It is compared for every piece of it, which a tuple does fast."""

    message_id: UUID
    turn: int
    attempt: int


@dataclass(slots=True)
class Position:
    """`seq` and `shown` make the id; `speaking` is the message open at `seq`.

    Messages that complete after `live_from`, the end of the log when the viewer was let in, are always shown as deltas
    too. `contradiction` says why what was shown of the open message cannot be gone on from. `reader` is no part of the
    id: what the viewer may read is found out whenever it comes.
    """

    seq: int
    shown: int = 0
    speaking: OpenMessage | None = None
    live_from: int = 0
    reader: Reader = EVERYBODY
    contradiction: str | None = None

    @property
    def event_id(self) -> str:
        return f"{self.seq}.{self.shown}" if self.shown else str(self.seq)

    @classmethod
    def parse(cls, event_id: str) -> "Position":
        """Raise `BadEventId` unless it is `<seq>` or `<seq>.<n>`."""
        match = _EVENT_ID.fullmatch(event_id)
        if match is None:
            raise BadEventId("the event id is malformed; use one that the stream gave, as it is")
        return cls(int(match[1]), int(match[2] or 0))
