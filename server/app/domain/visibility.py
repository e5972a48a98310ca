"""Who may read what was not said to all.

A whisper names the participants it is for, its author always among them. It may be read by the people in those seats,
also after they left, and by whoever may control any discussion. To all others there is a `message.withheld` in its
place in the log, so that `seq` has no gap. Exports and forks are for everybody, so they never hold one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from uuid import UUID

import orjson

from app.domain import events
from app.domain.events import StoredEvent


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who looks at a discussion, with all the seats that were ever theirs at its table."""

    user_id: UUID | None = None
    seats: frozenset[UUID] = frozenset()
    sees_all: bool = False

    def may_read(self, visible_to: Iterable[UUID] | None) -> bool:
        return visible_to is None or self.sees_all or not self.seats.isdisjoint(visible_to)

    def seated(self, seat_id: UUID) -> "Reader":
        """The same reader, who has taken another seat."""
        return replace(self, seats=self.seats | {seat_id})


EVERYBODY = Reader()
"""Reads what everybody may."""


def as_shown(event: StoredEvent, reader: Reader) -> StoredEvent:
    """The event, or what stands in its place for that reader."""
    if event.visible_to is None or reader.may_read(map(UUID, event.visible_to)):
        return event
    return withheld(event)


def as_copied(event: StoredEvent) -> StoredEvent:
    """What a fork is given of an event of its parent: never a whisper, whoever forks."""
    return as_shown(event, EVERYBODY)


def withheld(event: StoredEvent) -> StoredEvent:
    """A whisper without a word of it; of a whispered turn only that it is over, which the discussion's state tells."""
    turn = orjson.loads(event.payload).get("turn")
    stands_in = events.message_withheld(turn)
    return StoredEvent(event.seq, stands_in.type, event.created_at, orjson.dumps(stands_in.data))
