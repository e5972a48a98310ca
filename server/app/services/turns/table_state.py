"""What a driver holds in memory between its turns: the roster, the rules, the transcript's recent end."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

import orjson

from app.core.clock import steady_now
from app.domain import events
from app.domain.context import Matter, SourceDocument, Speaker, Utterance, build_prompt, estimate_tokens
from app.domain.events import NextSpeaker, StoredEvent
from app.domain.grounding import NOTHING, Ground, Numbers
from app.domain.limits import Left, Spending
from app.domain.masks import letters, under_letters, without_turns_after
from app.domain.policies import Brief, History, Spoken, TurnNote
from app.domain.progress import Table
from app.domain.prompt import Prompt
from app.domain.visibility import Reader
from app.models import Discussion, Participant
from app.repositories.turns import TurnState
from app.schemas.agent import AgentConfig
from app.services.discussion_views import table_of
from app.services.unit_of_work import UnitOfWork

# What a driver holds in memory is bounded, since a worker holds that of many.
TRANSCRIPT_MESSAGES = 200
TRANSCRIPT_TOKENS = 200_000
DOCUMENT_CHARACTERS = 800_000
ABOUT_MESSAGES, ABOUT_CHARACTERS = 3, 600
"""Of what others said last, that says what a turn is about; and the longest piece of each."""
RECENT_TURNS = 128
"""More than twice the largest roster, so that whoever has waited too long can be told."""


@dataclass(frozen=True, slots=True)
class AgentSeat:
    """An agent at the table, as its pinned version says; `counts_as` is the seat whose turns it takes."""

    participant_id: UUID
    speaker: Speaker
    config: AgentConfig
    counts_as: UUID
    agent_id: UUID | None = None

    @property
    def models(self) -> list[str]:
        """The names of its models in the order in which they are asked."""
        return [self.config.model or "", *self.config.model_fallbacks]


@dataclass(frozen=True, slots=True)
class Roster:
    """The rules with who sits at the table, and the agents among them; replaced whole when somebody comes or goes.

    `handles` are of everybody who ever sat there, in the order of coming.
    """

    rules: Table
    agents: Mapping[UUID, AgentSeat]
    handles: Sequence[str] = ()
    is_remembered: bool = False
    """Whether an agent that sits or sat there may have long-term memory."""


class TableState:
    """A discussion as its driver knows it; `known_seq` is the end of the log it has seen."""

    def __init__(
        self,
        discussion: Discussion,
        roster: Roster,
        documents: Iterable[SourceDocument],
        transcript: Iterable[Utterance],
        turns: Iterable[TurnNote],
        clock_ahead: timedelta = timedelta(0),
    ) -> None:
        self.rules = roster.rules
        self.agents = roster.agents
        self._handles = roster.handles
        self.is_remembered = roster.is_remembered
        self._letters_by_handle: Mapping[str, str] | None = None
        self.state = _state_of(discussion)
        self.known_seq = discussion.last_seq
        self.priority = discussion.priority
        self.waiting = discussion.waiting
        self.created_by = discussion.created_by
        self.roster_changed = False
        self._clock_ahead = clock_ahead
        self._matter = Matter(discussion.topic, discussion.instructions, list(documents))
        self._document_tokens: list[int] | None = None
        self.numbers = Numbers()
        self.has_forgotten = False
        self.started_at: datetime | None = discussion.started_at
        self._turns: deque[TurnNote] = deque(turns, maxlen=RECENT_TURNS)
        self._newest_first: deque[Utterance] = deque()
        self._holds_whispers = False
        self.unsummarised_tokens = 0
        self._transcript_tokens = 0
        for utterance in transcript:
            self._hear(utterance)

    def now(self) -> datetime:
        """The time by the database's clock."""
        return steady_now() + self._clock_ahead

    def spent(self, state: TurnState) -> Spending:
        """What the discussion has used in that state."""
        seconds = (self.now() - self.started_at).total_seconds() if self.started_at else 0.0
        return Spending(state.turn, state.prompt_tokens + state.completion_tokens, state.cost_usd, seconds)

    def left(self, state: TurnState) -> Left | None:
        """What the limits leave of tokens and dollars in that state; None where nothing bounds them."""
        return self.rules.limits.left(self.spent(state))

    @property
    def topic(self) -> str:
        return self._matter.topic

    @property
    def documents(self) -> Sequence[SourceDocument]:
        """What the discussion is about."""
        return self._matter.documents

    @property
    def document_tokens(self) -> Sequence[int]:
        """How long each of the documents is; estimated once."""
        if self._document_tokens is None:
            self._document_tokens = [estimate_tokens(document.text) for document in self._matter.documents]
        return self._document_tokens

    @property
    def transcript_tokens(self) -> int:
        """Of all messages at hand."""
        return self._transcript_tokens

    def floor(self) -> NextSpeaker | None:
        """Who has the floor, None if nobody who is still at the table has."""
        reason = self.state.speaker_reason or ""
        seat = self.rules.seat(self.state.speaker_id)
        if seat is not None:
            return NextSpeaker(seat.participant_id, seat.handle, reason)
        stand_in = self.agents.get(self.state.speaker_id) if self.state.speaker_id else None
        if stand_in is None or self.rules.seat(stand_in.counts_as) is None:
            return None
        return NextSpeaker(stand_in.participant_id, stand_in.speaker.handle, reason)

    def history(
        self,
        state: TurnState,
        note: TurnNote | None = None,
        said: Spoken | None = None,
        answers: Mapping[UUID, Any] | None = None,
    ) -> History:
        """What the policy may know in that state, with a turn that is about to be recorded."""
        messages, turns = self.rules.reach
        notes = islice(self._turns, turns)
        public = (
            Spoken(one.participant_id, one.turn, one.content)
            for one in self._newest_first
            if one.visible_to is None and one.participant_id is not None
        )
        recent = _newest(public, messages)
        return History(
            turn=state.turn,
            last_speaker=state.last_speaker_id,
            turns=(note, *notes) if note else tuple(notes),
            recent=(said, *recent) if said else tuple(recent),
            state=state.policy_state,
            answers=answers or {},
        )

    def prompt_for(
        self,
        agent: AgentSeat,
        budget_tokens: int,
        brief: Brief | None = None,
        question: str | None = None,
        *,
        is_last: bool = False,
        ground: Ground = NOTHING,
    ) -> Prompt:
        """The prompt for the agent's turn, the last one of the discussion if `is_last`, or for a question to it."""
        return build_prompt(
            agent.speaker,
            self._matter,
            self._heard(agent, brief),
            budget_tokens,
            instruction=brief.instruction if brief is not None else None,
            question=question,
            is_last=is_last,
            ground=ground,
        )

    def about(self, agent: AgentSeat, brief: Brief | None) -> str:
        """What the agent's turn is about: the topic, and what it has heard last from others."""
        others = (said for said in self._heard(agent, brief) if said.handle != agent.speaker.handle)
        latest = [said.content[:ABOUT_CHARACTERS] for said in islice(others, ABOUT_MESSAGES)]
        return "\n".join([self.topic[:ABOUT_CHARACTERS], *reversed(latest)])

    def _heard(self, agent: AgentSeat, brief: Brief | None) -> Iterable[Utterance]:
        """What the agent has heard as far as the policy lets it know, newest first."""
        heard = self._heard_by(agent.participant_id)
        if brief is not None and brief.blind_since is not None:
            heard = without_turns_after(brief.blind_since, heard, own=agent.participant_id)
        if brief is not None and brief.is_anonymous:
            heard = under_letters(heard, self._letters(), own_handle=agent.speaker.handle)
        return heard

    def _heard_by(self, seat_id: UUID) -> Iterable[Utterance]:
        """What that seat may read, newest first."""
        if not self._holds_whispers:
            return self._newest_first
        reader = Reader(seats=frozenset({seat_id}))
        return (said for said in self._newest_first if reader.may_read(said.visible_to))

    def _letters(self) -> Mapping[str, str]:
        if self._letters_by_handle is None:
            self._letters_by_handle = letters(self._handles)
        return self._letters_by_handle

    def heard(self, utterance: Utterance) -> None:
        """Add to the transcript."""
        self._hear(utterance)

    def noted(self, note: TurnNote) -> None:
        """Add a finished turn."""
        self._turns.appendleft(note)

    def reseat(self, roster: Roster) -> None:
        """Take the roster as it is by now."""
        self.rules, self.agents, self._handles = roster.rules, roster.agents, roster.handles
        self.is_remembered = roster.is_remembered
        self._letters_by_handle = None
        self.roster_changed = False

    def _hear(self, utterance: Utterance) -> None:
        """Add what was said last, and forget what is too long ago to matter."""
        self._newest_first.appendleft(utterance)
        self._holds_whispers = self._holds_whispers or utterance.visible_to is not None
        self._transcript_tokens += utterance.tokens
        self.unsummarised_tokens += utterance.tokens if utterance.visible_to is None else 0
        kept = self._newest_first
        while len(kept) > 1 and (len(kept) > TRANSCRIPT_MESSAGES or self._transcript_tokens > TRANSCRIPT_TOKENS):
            self._transcript_tokens -= kept.pop().tokens
            self.has_forgotten = True

    def catch_up(self, news: Iterable[StoredEvent]) -> None:
        """Take what others wrote into the log meanwhile."""
        for event in news:
            self.known_seq = self.state.last_seq = event.seq
            if event.type == events.MESSAGE_COMPLETED:
                self._hear(_utterance_of(orjson.loads(event.payload), event.visible_to))
            elif event.type == events.DISCUSSION_PAUSING:
                self.state.pause_requested = True
            elif event.type in {events.PARTICIPANT_JOINED, events.PARTICIPANT_LEFT}:
                self.roster_changed = True


def _newest(messages: Iterable[Spoken], least: int) -> list[Spoken]:
    """So many, and all that was said since the last turn, however many that are."""
    taken: list[Spoken] = []
    for one in messages:
        if len(taken) >= least and one.turn is not None:
            break
        taken.append(one)
    return taken


def _utterance_of(data: Mapping[str, Any], visible_to: Sequence[str] | None) -> Utterance:
    addressed = None if visible_to is None else [UUID(one) for one in visible_to]
    return Utterance.of(data["handle"], data["content"], UUID(data["participant_id"]), data["turn"], addressed)


def _state_of(discussion: Discussion) -> TurnState:
    return TurnState(
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
        policy_state=discussion.policy_state,
        pause_requested=discussion.pause_requested,
        floor_id=discussion.floor_id,
        deadline_at=discussion.deadline_at,
        wrap_up=discussion.wrap_up,
        warned=tuple(discussion.warned),
        failed_in_a_row=discussion.failed_in_a_row,
    )


async def load_table(work: UnitOfWork, discussion_id: UUID, clock_ahead: timedelta = timedelta(0)) -> TableState:
    """Read all a driver needs of a discussion it has claimed."""
    discussion = await work.discussions.get(discussion_id)
    everything = Reader(sees_all=True)  # each agent's prompt leaves out what it may not read
    messages = await work.messages.list_recent(discussion_id, everything, TRANSCRIPT_MESSAGES, discussion.last_seq)
    table = TableState(
        discussion,
        await load_roster(work, discussion),
        await _documents(work, discussion.document_ids),
        [
            Utterance.of(message.handle, message.content, message.participant_id, message.turn, message.visible_to)
            for message in messages
        ],
        await work.messages.list_recent_turns(discussion_id, RECENT_TURNS) if discussion.turn else (),
        clock_ahead,
    )
    table.has_forgotten = len(messages) == TRANSCRIPT_MESSAGES
    for message in messages:
        if message.citations:
            table.numbers.learn(message.citations)
    return table


async def load_roster(work: UnitOfWork, discussion: Discussion) -> Roster:
    """Who sits at the table now."""
    participants = await work.discussions.list_seats(discussion.id)
    handles = [participant.handle for participant in participants]
    agents = await _agents(work, participants)
    # Whoever left may have taken something along.
    has_left = any(seat.kind == "llm" and seat.left_at is not None for seat in participants)
    is_remembered = has_left or any(agent.config.memory.long_term for agent in agents.values())
    return Roster(table_of(discussion, participants), agents, handles, is_remembered)


async def _documents(work: UnitOfWork, document_ids: Sequence[UUID]) -> list[SourceDocument]:
    """The documents, no more of each than could ever enter a prompt beside the others."""
    if not document_ids:
        return []
    found = await work.knowledge.find_beginnings(document_ids, DOCUMENT_CHARACTERS // len(document_ids))
    return [found[document_id] for document_id in document_ids if document_id in found]


async def _agents(work: UnitOfWork, participants: list[Participant]) -> dict[UUID, AgentSeat]:
    pins = {
        seat.id: (seat.agent_id, seat.agent_version)
        for seat in participants
        if seat.kind == "llm" and seat.left_at is None and seat.agent_id is not None and seat.agent_version is not None
    }
    configs = await work.agents.pinned_configs(list(pins.values()))
    seats = {seat.id: seat for seat in participants}
    agents = {}
    for seat_id, pin in pins.items():
        seat, config = seats[seat_id], AgentConfig.model_validate(configs[pin])
        if seat.model is not None:
            config = config.model_copy(update={"model": seat.model})
        speaker = Speaker(seat.handle, seat.name, config.persona)
        agents[seat_id] = AgentSeat(seat_id, speaker, config, seat.stands_in_for or seat_id, seat.agent_id)
    return agents
