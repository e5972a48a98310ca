"""What a driver holds in memory between its turns: the roster, the rules, the transcript's recent end."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from app.core.clock import utc_now
from app.domain import events
from app.domain.context import Matter, SourceDocument, Speaker, Utterance, build_prompt
from app.domain.events import NextSpeaker, StoredEvent
from app.domain.limits import Spending
from app.domain.policies import History
from app.domain.progress import Table
from app.domain.prompt import ChatMessage
from app.models import Discussion, Participant
from app.repositories.turns import TurnState
from app.schemas.agent import AgentConfig
from app.services.discussion_views import table_of
from app.services.unit_of_work import UnitOfWork

# What a driver holds in memory is bounded, since a worker holds that of many.
TRANSCRIPT_MESSAGES = 200
TRANSCRIPT_TOKENS = 200_000
DOCUMENT_CHARACTERS = 800_000


@dataclass(frozen=True, slots=True)
class AgentSeat:
    """An agent at the table, as its pinned version says."""

    speaker: Speaker
    config: AgentConfig


class TableState:
    """A discussion as its driver knows it; `known_seq` is the end of the log it has seen."""

    def __init__(
        self,
        discussion: Discussion,
        rules: Table,
        agents: Mapping[UUID, AgentSeat],
        documents: Iterable[SourceDocument],
        transcript: Iterable[Utterance],
    ) -> None:
        self.rules = rules
        self.agents = agents
        self.state = TurnState(
            status=discussion.status,
            end_reason=discussion.end_reason,
            turn=discussion.turn,
            last_seq=discussion.last_seq,
            speaker_id=discussion.speaker_id,
            speaker_reason=discussion.speaker_reason,
            last_speaker_id=discussion.last_speaker_id,
            turn_message_id=discussion.turn_message_id,
            turn_attempt=discussion.turn_attempt,
            turn_epoch=discussion.turn_epoch,
            prompt_tokens=discussion.prompt_tokens,
            completion_tokens=discussion.completion_tokens,
            cost_usd=float(discussion.cost_usd),
        )
        self.known_seq = discussion.last_seq
        self.priority = discussion.priority
        self._matter = Matter(discussion.topic, discussion.instructions, list(documents))
        self._started_at: datetime | None = discussion.started_at
        self._newest_first: deque[Utterance] = deque()
        self._transcript_tokens = 0
        for utterance in transcript:
            self._hear(utterance)

    def spent(self, state: TurnState) -> Spending:
        """What the discussion has used in that state."""
        seconds = (utc_now() - self._started_at).total_seconds() if self._started_at else 0.0
        return Spending(state.turn, state.prompt_tokens + state.completion_tokens, state.cost_usd, seconds)

    def floor(self) -> NextSpeaker:
        """Who has the floor, or whom the policy chooses if nobody has."""
        state = self.state
        seat = self.rules.seat(state.speaker_id) if state.speaker_id else None
        if seat is None:
            return self.choose_next(state)
        return NextSpeaker(seat.participant_id, seat.handle, state.speaker_reason or "")

    def choose_next(self, state: TurnState) -> NextSpeaker:
        return self.rules.choose(History(state.turn, state.last_speaker_id))

    def prompt_for(self, agent: AgentSeat, budget_tokens: int) -> list[ChatMessage]:
        return build_prompt(agent.speaker, self._matter, self._newest_first, budget_tokens)

    def heard(self, handle: str, content: str) -> None:
        """Add to the transcript."""
        self._hear(Utterance.of(handle, content))

    def _hear(self, utterance: Utterance) -> None:
        """Add what was said last, and forget what is too long ago to matter."""
        self._newest_first.appendleft(utterance)
        self._transcript_tokens += utterance.tokens
        kept = self._newest_first
        while len(kept) > 1 and (len(kept) > TRANSCRIPT_MESSAGES or self._transcript_tokens > TRANSCRIPT_TOKENS):
            self._transcript_tokens -= kept.pop().tokens

    def catch_up(self, news: Iterable[StoredEvent]) -> None:
        """Take what others wrote into the log meanwhile."""
        for event in news:
            self.known_seq = self.state.last_seq = event.seq
            if event.type == events.MESSAGE_COMPLETED:
                data: dict[str, Any] = orjson.loads(event.payload)
                self.heard(data["handle"], data["content"])


async def load_table(work: UnitOfWork, discussion_id: UUID) -> TableState:
    """Read all a driver needs of a discussion it has claimed."""
    discussion = await work.discussions.get(discussion_id)
    participants = (await work.discussions.list_participants([discussion_id]))[discussion_id]
    messages = await work.messages.list_recent(discussion_id, TRANSCRIPT_MESSAGES, discussion.last_seq)
    documents = await _documents(work, discussion.document_ids)
    return TableState(
        discussion,
        table_of(discussion, participants),
        await _agents(work, participants),
        documents,
        [Utterance.of(message.handle, message.content) for message in messages],
    )


async def _documents(work: UnitOfWork, document_ids: Sequence[UUID]) -> list[SourceDocument]:
    """The documents, no more of each than could ever enter a prompt beside the others."""
    if not document_ids:
        return []
    found = await work.knowledge.find_beginnings(document_ids, DOCUMENT_CHARACTERS // len(document_ids))
    return [SourceDocument(*found[document_id]) for document_id in document_ids if document_id in found]


async def _agents(work: UnitOfWork, participants: list[Participant]) -> dict[UUID, AgentSeat]:
    pins = {
        seat.id: (seat.agent_id, seat.agent_version)
        for seat in participants
        if seat.agent_id is not None and seat.agent_version is not None
    }
    configs = await work.agents.pinned_configs(list(pins.values()))
    seats = {seat.id: seat for seat in participants}
    agents = {}
    for seat_id, pin in pins.items():
        config = AgentConfig.model_validate(configs[pin])
        speaker = Speaker(seats[seat_id].handle, seats[seat_id].name, config.persona)
        agents[seat_id] = AgentSeat(speaker, config)
    return agents
