"""Who may do what to one discussion."""

from app.core.errors import Forbidden
from app.domain.permissions import Permission
from app.models import Discussion
from app.services.callers import Actor


def require_control(actor: Actor, discussion: Discussion) -> None:
    """Raise `Forbidden` unless the actor may run this discussion: its own, or anybody's."""
    if discussion.created_by == actor.user_id:
        actor.require(Permission.DISCUSSIONS_WRITE)
    elif not actor.may(Permission.DISCUSSIONS_CONTROL):
        raise Forbidden("only its creator or a moderator may do this to the discussion")
