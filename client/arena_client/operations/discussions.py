"""Discussions: open, take part, steer, read."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from arena_client.models import Discussion, Limits, Message, NewParticipant, Participant, PostedMessage
from arena_client.request import Listing, Request, bare, change, fetch, listing, submit
from arena_client.wire import path, without_none


def create(
    topic: str,
    participants: Sequence[str | NewParticipant],
    *,
    document_ids: Sequence[str] = (),
    limits: Limits | None = None,
    turn_policy: Mapping[str, Any] | None = None,
    start: bool = True,
    **fields: Any,
) -> Request[Discussion]:
    """Open a discussion; a participant given as a string is an agent's id.

    `fields` are further ones of the contract: `title`, `instructions`, `stop_when`, `priority`, `seed`.
    """
    seats = [{"agent_id": one} if isinstance(one, str) else one for one in participants]
    body = {"topic": topic, "participants": seats, "document_ids": list(document_ids), "start": start}
    return submit(Discussion, "/discussions", body | without_none(limits=limits, turn_policy=turn_policy, **fields))


def list_all(*, status: str | None = None, q: str | None = None) -> Listing[Discussion]:
    """All of them, newest first."""
    return listing(Discussion, "/discussions", status=status, q=q)


def get(discussion_id: str) -> Request[Discussion]:
    """A discussion as it stands."""
    return fetch(Discussion, path("discussions", discussion_id))


def start(discussion_id: str) -> Request[Discussion]:
    """Start a draft."""
    return _step(discussion_id, "start")


def pause(discussion_id: str) -> Request[Discussion]:
    """Let the speaker finish and nobody begin; until then the discussion is `running` and `pausing`."""
    return _step(discussion_id, "pause")


def resume(discussion_id: str) -> Request[Discussion]:
    """Go on where it was paused."""
    return _step(discussion_id, "resume")


def interrupt(discussion_id: str) -> Request[Discussion]:
    """Pause now; what was shown of a cut message is kept."""
    return _step(discussion_id, "interrupt")


def stop(discussion_id: str) -> Request[Discussion]:
    """End it now; what was shown of a cut message is kept."""
    return _step(discussion_id, "stop")


def update(discussion_id: str, *, expected_version: int | None = None, **fields: Any) -> Request[Discussion]:
    """Change the fields given: the title at any time, the rest of a draft or a paused discussion."""
    return change(Discussion, path("discussions", discussion_id), fields, expected_version)


def fork(discussion_id: str, *, at_seq: int | None = None, **fields: Any) -> Request[Discussion]:
    """Open another discussion that begins with this one's log up to `at_seq`, by default all of it; 0: a rerun.

    `fields` are further ones of the contract: `participants`, `model`, `limits`, `turn_policy`, `start` …
    """
    return submit(Discussion, path("discussions", discussion_id, "fork"), without_none(at_seq=at_seq, **fields))


def join(discussion_id: str, participant: str | NewParticipant) -> Request[Participant]:
    """Seat somebody at the end of the speaking order; a string is an agent's id."""
    body = {"agent_id": participant} if isinstance(participant, str) else participant
    return submit(Participant, path("discussions", discussion_id, "participants"), body)


def leave(discussion_id: str, participant_id: str) -> Request[None]:
    """Take a seat from the table; what it says just now it says to the end."""
    return bare("DELETE", path("discussions", discussion_id, "participants", participant_id))


def messages(discussion_id: str, *, order: Literal["asc", "desc"] = "asc") -> Listing[Message]:
    """What was said and the caller may read."""
    return listing(Message, path("discussions", discussion_id, "messages"), order=order)


def post_message(
    discussion_id: str,
    content: str,
    *,
    reply_to: str | None = None,
    participant_id: str | None = None,
    visible_to: Sequence[str] | None = None,
    turn_token: str | None = None,
) -> Request[PostedMessage]:
    """Say something, whoever is speaking; without a seat one becomes a guest.

    `visible_to` names the participants who may read it besides the author, None: everybody. With `turn_token` it
    is an external agent's turn.
    """
    body = without_none(
        content=content,
        reply_to=reply_to,
        participant_id=participant_id,
        visible_to=None if visible_to is None else [*visible_to],
        turn_token=turn_token,
    )
    return submit(PostedMessage, path("discussions", discussion_id, "messages"), body)


def transcript(discussion_id: str, form: Literal["md", "txt", "json"] = "md") -> Request[str]:
    """The whole discussion as one document, without whispers."""
    where = path("discussions", discussion_id, "transcript")
    return Request("GET", where, lambda response: response.text, {"format": form})


def _step(discussion_id: str, step: str) -> Request[Discussion]:
    return submit(Discussion, path("discussions", discussion_id, step))
