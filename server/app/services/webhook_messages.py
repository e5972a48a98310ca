"""What a webhook tells an external agent of the discussion so far: what an agent's prompt would in its place."""

from collections.abc import Sequence
from typing import Any

from app.domain.context import Utterance
from app.domain.masks import letters, under_letters, without_turns_after
from app.domain.policies import Brief
from app.models import Message, Participant
from app.schemas.message import MessageRead
from app.services.discussion_views import read_message

MOST_CHARACTERS = 200_000


def webhook_messages(
    brief: Brief, seat: Participant, handles: Sequence[str], messages: Sequence[Message]
) -> list[dict[str, Any]]:
    """The latest that fit, oldest first; `handles` are of everybody who ever sat there, in the order of coming.

    What others' words cost is not shown, since it is their owners' matter.
    """
    heard = [read_message(message).model_copy(update={"usage": None}) for message in messages]
    since = brief.blind_since
    if since is not None:
        heard = [one for one in heard if any(without_turns_after(since, [_utterance(one)], own=seat.id))]
    shown = _latest(heard)
    fields = [message.model_dump(mode="json") for message in shown]
    if not brief.is_anonymous:
        return fields
    masked = under_letters(map(_utterance, shown), letters(handles), own_handle=seat.handle)
    return [_masked(one, said, seat) for one, said in zip(fields, masked, strict=True)]


def _utterance(message: MessageRead) -> Utterance:
    return Utterance.of(message.handle, message.content, message.participant_id, message.turn)


def _masked(fields: dict[str, Any], said: Utterance, seat: Participant) -> dict[str, Any]:
    """Nothing that says who spoke or who else was addressed; ids would, to whoever has read earlier turns."""
    addressed = [str(seat.id)] if fields["visible_to"] is not None else None
    if said.participant_id == seat.id:
        return {**fields, "visible_to": addressed}
    hidden = {"participant_id": None, "kind": None, "visible_to": addressed}
    return {**fields, **hidden, "handle": said.handle, "name": said.handle, "content": said.content}


def _latest(messages: Sequence[MessageRead]) -> list[MessageRead]:
    """As many as fit, at least one if there is one."""
    kept: list[MessageRead] = []
    characters = 0
    for message in reversed(messages):
        characters += len(message.content)
        if kept and characters > MOST_CHARACTERS:
            break
        kept.append(message)
    return kept[::-1]
