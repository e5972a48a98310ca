"""What a client can do, by kind of resource."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from arena_client.connection import Connection
from arena_client.decode import decode
from arena_client.models import (
    Agent,
    AgentParams,
    Discussion,
    Document,
    KnowledgeBase,
    Limits,
    Message,
    NewParticipant,
    Participant,
    PostedMessage,
)
from arena_client.streams import EventStream
from arena_client.wire import path, without_none

PAGE = 200
PATIENCE_SECONDS = 120.0

T = TypeVar("T")


class _Resource:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _all(self, item_type: type[T], where: str, **query: Any) -> Iterator[T]:
        """Every item of a list, page by page as they are asked for."""
        cursor: str | None = None
        while True:
            page = self._connection.get(where, **query, limit=PAGE, cursor=cursor)
            for item in page["items"]:
                yield decode(item_type, item)
            cursor = page["next_cursor"]
            if cursor is None:
                return


class Agents(_Resource):
    """Agents of the workspace."""

    def create(
        self,
        name: str,
        *,
        model: str | None = None,
        persona: str = "",
        handle: str | None = None,
        params: AgentParams | None = None,
        **fields: Any,
    ) -> Agent:
        """Create an agent; `fields` are further ones of the contract, such as `kind` or `color`."""
        body = {"persona": persona} | without_none(name=name, model=model, handle=handle, params=params, **fields)
        return decode(Agent, self._connection.post("/agents", body))

    def list(self, *, q: str | None = None, kind: str | None = None) -> Iterator[Agent]:
        """All of them, newest first; `q` is looked for in names and handles."""
        return self._all(Agent, "/agents", q=q, kind=kind)

    def get(self, agent_id: str) -> Agent:
        return decode(Agent, self._connection.get(path("agents", agent_id)))

    def update(self, agent_id: str, *, expected_version: int | None = None, **fields: Any) -> Agent:
        """Change the fields given; with `expected_version`, only if the agent is still at that version."""
        return decode(Agent, self._connection.patch(path("agents", agent_id), fields, expected_version))


class Knowledge(_Resource):
    """Knowledge bases and their documents."""

    def create_base(self, name: str, *, description: str | None = None) -> KnowledgeBase:
        body = without_none(name=name, description=description)
        return decode(KnowledgeBase, self._connection.post("/knowledge/bases", body))

    def list_bases(self) -> Iterator[KnowledgeBase]:
        """All of them, newest first."""
        return self._all(KnowledgeBase, "/knowledge/bases")

    def add_document(self, base_id: str, title: str, text: str) -> Document:
        """Add plain or Markdown text."""
        body = {"title": title, "text": text}
        return decode(Document, self._connection.post(path("knowledge", "bases", base_id, "documents"), body))

    def list_documents(self, base_id: str) -> Iterator[Document]:
        """All of them, newest first, without their text."""
        return self._all(Document, path("knowledge", "bases", base_id, "documents"))

    def get_document(self, document_id: str) -> Document:
        """A document with its text."""
        return decode(Document, self._connection.get(path("knowledge", "documents", document_id)))


class Discussions(_Resource):
    """Discussions: open, follow, take part, steer, read."""

    def create(
        self,
        topic: str,
        participants: Sequence[str | NewParticipant],
        *,
        document_ids: Sequence[str] = (),
        limits: Limits | None = None,
        turn_policy: Mapping[str, Any] | None = None,
        start: bool = True,
        **fields: Any,
    ) -> Discussion:
        """Open a discussion; a participant given as a string is an agent's id.

        `fields` are further ones of the contract: `title`, `instructions`, `stop_when`, `priority`, `seed`.
        """
        seats = [{"agent_id": one} if isinstance(one, str) else one for one in participants]
        body = {"topic": topic, "participants": seats, "document_ids": list(document_ids), "start": start}
        body |= without_none(limits=limits, turn_policy=turn_policy, **fields)
        return decode(Discussion, self._connection.post("/discussions", body))

    def list(self, *, status: str | None = None, q: str | None = None) -> Iterator[Discussion]:
        """All of them, newest first."""
        return self._all(Discussion, "/discussions", status=status, q=q)

    def get(self, discussion_id: str) -> Discussion:
        return decode(Discussion, self._connection.get(path("discussions", discussion_id)))

    def start(self, discussion_id: str) -> Discussion:
        return self._step(discussion_id, "start")

    def pause(self, discussion_id: str) -> Discussion:
        """Let the speaker finish and nobody begin; until then the discussion is `running` and `pausing`."""
        return self._step(discussion_id, "pause")

    def resume(self, discussion_id: str) -> Discussion:
        """Go on where it was paused."""
        return self._step(discussion_id, "resume")

    def interrupt(self, discussion_id: str) -> Discussion:
        """Pause now; what was shown of a cut message is kept."""
        return self._step(discussion_id, "interrupt")

    def stop(self, discussion_id: str) -> Discussion:
        """End it now; what was shown of a cut message is kept."""
        return self._step(discussion_id, "stop")

    def update(self, discussion_id: str, *, expected_version: int | None = None, **fields: Any) -> Discussion:
        """Change the fields given: the title at any time, the rest of a draft or a paused discussion."""
        return decode(Discussion, self._connection.patch(path("discussions", discussion_id), fields, expected_version))

    def fork(self, discussion_id: str, *, at_seq: int | None = None, **fields: Any) -> Discussion:
        """Open another discussion that begins with this one's log up to `at_seq`, by default all of it; 0: a rerun.

        `fields` are further ones of the contract: `participants`, `model`, `limits`, `turn_policy`, `start` …
        """
        body = without_none(at_seq=at_seq, **fields)
        return decode(Discussion, self._connection.post(path("discussions", discussion_id, "fork"), body))

    def join(self, discussion_id: str, participant: str | NewParticipant) -> Participant:
        """Seat somebody at the end of the speaking order; a string is an agent's id."""
        body = {"agent_id": participant} if isinstance(participant, str) else participant
        return decode(Participant, self._connection.post(path("discussions", discussion_id, "participants"), body))

    def leave(self, discussion_id: str, participant_id: str) -> None:
        """Take a seat from the table; what it says just now it says to the end."""
        self._connection.delete(path("discussions", discussion_id, "participants", participant_id))

    def messages(self, discussion_id: str, *, order: Literal["asc", "desc"] = "asc") -> Iterator[Message]:
        """What was said and the caller may read."""
        return self._all(Message, path("discussions", discussion_id, "messages"), order=order)

    def post_message(
        self,
        discussion_id: str,
        content: str,
        *,
        reply_to: str | None = None,
        participant_id: str | None = None,
        visible_to: Sequence[str] | None = None,
        turn_token: str | None = None,
    ) -> PostedMessage:
        """Say something, whoever is speaking; without a seat one becomes a guest.

        `visible_to` names the participants who may read it besides the author, None: everybody. With `turn_token` it
        is an external agent's turn.
        """
        readers = None if visible_to is None else [*visible_to]
        body = without_none(
            content=content,
            reply_to=reply_to,
            participant_id=participant_id,
            visible_to=readers,
            turn_token=turn_token,
        )
        return decode(PostedMessage, self._connection.post(path("discussions", discussion_id, "messages"), body))

    def transcript(self, discussion_id: str, form: Literal["md", "txt", "json"] = "md") -> str:
        """The whole discussion as one document, without whispers."""
        return self._connection.text(path("discussions", discussion_id, "transcript"), format=form)

    def stream(
        self, discussion_id: str, after: str | None = None, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> EventStream:
        """Follow the discussion from its beginning, or from behind the event whose id is `after`, to its end.

        Connections that break are made again; no event is given twice. In the place of a whisper that the caller may
        not read there is `message.withheld`. Raises `ArenaUnreachable` (or the last `ArenaProblem`) when none could be
        had for `patience_seconds`.
        """
        where = path("discussions", discussion_id, "events")
        return EventStream(lambda last_id: self._connection.events(where, last_id), after, patience_seconds)

    def _step(self, discussion_id: str, step: str) -> Discussion:
        return decode(Discussion, self._connection.post(path("discussions", discussion_id, step), None))
