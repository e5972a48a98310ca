"""One who follows one discussion: a stream, or a channel of a socket."""

from dataclasses import replace
from uuid import UUID

from app.domain.permissions import Permission, Role, allows, is_within
from app.services.live.position import Position
from app.services.live.streams import Standing, Stream
from app.services.live.watch import Watch


class Viewer(Stream):
    """Follows `discussion_id` from `position`."""

    def __init__(
        self,
        standing: Standing,
        discussion_id: UUID,
        position: Position,
        *,
        heartbeat_seconds: float | None = None,
        life_seconds: float | None = None,
    ) -> None:
        super().__init__(standing, heartbeat_seconds=heartbeat_seconds, life_seconds=life_seconds)
        self.discussion_id = discussion_id
        self.position = position

    def hear(self, watch: Watch) -> None:
        """Take what is new at once if that can be done, else wake to take it."""
        if self.may_be_given and self.position.seq >= watch.floor:
            step = watch.step_from(self.position)
            if step is not None:
                self.give(step)
            if not watch.has_more_for(self.position):
                return
        self.wake()

    def takes_role(self, role: Role) -> None:
        """Show what the role may read from now on; the seats, which make a reader too, are told by the log."""
        reader = self.position.reader
        controls = Permission.DISCUSSIONS_CONTROL
        sees_all = allows(role, controls) and is_within(self.standing.scopes, controls)
        if reader.sees_all != sees_all:
            self.position.reader = replace(reader, sees_all=sees_all)
