"""After a discussion: what each agent with long-term memory learned there, kept as facts.

A discussion is read in parts that fit the model. The facts of a part, merged with what the agent knew, and how far it
was read are written in one transaction, while the agent's row is locked and only if nobody else has read on meanwhile.
So a job that is cut, or runs twice, goes on from where it had come to, and no fact is kept twice. What the model says
is data: facts must name messages that the agent could read, and never come from those it could not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from app.core.errors import NotFound
from app.core.ids import new_id
from app.domain.distilling import FACTS_SCHEMA, REPLY_TOKENS, Distilled, distilling_prompt, read_facts
from app.domain.memories import SAME_FACT_SIMILARITY, Fact, says_the_same
from app.domain.retold import Said, first_part
from app.domain.visibility import Reader
from app.models import Agent, Discussion, Memory, Participant
from app.repositories.jobs import ASSISTANT_QUEUE, REMEMBER_TASK
from app.repositories.memories import Direction
from app.repositories.messages import cursor_at
from app.schemas.agent import AgentConfig
from app.services.ai_models import Model
from app.services.assistant_model import Assistants
from app.services.embedding.catalog import EmbeddingCatalog
from app.services.memory.directions import directions_of
from app.services.memory.memories import DISCUSSION, keep_within_room
from app.services.memory.side_work import MOST_TRIES, Due, next_budget, next_try
from app.services.prompts import PROMPT_MARGIN_TOKENS
from app.services.providers.base import ChatRequest, ModelError, ModelMalformed
from app.services.side_calls import NoBudgetLeft, SideCalls
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

log = structlog.stdlib.get_logger(__name__)

PAGE = 200
MOST_PARTS = 50
"""Of one discussion; what comes after is not distilled."""
RULES_TOKENS = 700
ALIKE = 5


@dataclass(frozen=True, slots=True)
class Remembering:
    """One agent's part in a discussion that has ended; `attempt` counts from 1."""

    workspace_id: UUID
    discussion_id: UUID
    agent_id: UUID
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class _Heard:
    """What the agent could read after `known_seq`, oldest first."""

    discussion: Discussion
    seat: Participant
    known_seq: int
    messages: Sequence[Said]


class Distilling:
    """Lets agents remember what they heard."""

    def __init__(
        self, uow: UnitOfWorkFactory, embeddings: EmbeddingCatalog, assistants: Assistants, calls: SideCalls
    ) -> None:
        self._uow = uow
        self._embeddings = embeddings
        self._assistants = assistants
        self._calls = calls

    async def distil(self, one: Remembering) -> None:
        """All that was not distilled yet; where the model fails or no budget is left, the rest is tried again later."""
        try:
            for _ in range(MOST_PARTS):
                if not await self._next_part(one):
                    return
        except NotFound:
            return  # the agent or the discussion is gone, or is not to be remembered any more
        except NoBudgetLeft as error:
            await self._later(one, error.code, next_budget)
        except ModelError as error:
            await self._later(one, error.code, lambda now: next_try(one.attempt, now))

    async def _next_part(self, one: Remembering) -> bool:
        """Distil as much as the model can take; False: there was nothing left, or nobody to do it."""
        heard = await self._heard(one)
        if not heard.messages:
            return False
        model = await self._assistants.find(one.workspace_id)
        if model is None:
            log.warning("not_distilled", discussion_id=str(one.discussion_id), reason="no_assistant_model")
            return False
        part = first_part(heard.messages, _room(model))
        facts = await self._ask(one, model, heard, part)
        directions = await directions_of(self._embeddings, one.workspace_id, [fact.content for fact in facts])
        return await self._keep(one, heard.known_seq, part[-1].seq, list(zip(facts, directions, strict=True)))

    async def _heard(self, one: Remembering) -> _Heard:
        async with self._uow.reading(one.workspace_id) as work:
            _check_wants(await work.agents.get(one.agent_id))
            discussion = await work.discussions.get(one.discussion_id)
            seats = [
                seat for seat in await work.discussions.list_seats(one.discussion_id) if seat.agent_id == one.agent_id
            ]
            if not seats:
                raise NotFound("the agent had no part in the discussion")
            known_seq = await work.memories.distilled_through(one.discussion_id, one.agent_id)
            rows, _rest = await work.messages.list_page(
                one.discussion_id,
                Reader(seats=frozenset(seat.id for seat in seats)),
                newest_first=False,
                limit=PAGE,
                cursor=cursor_at(known_seq, newest_first=False),
            )
        left_at = _left_at(seats)
        said = [Said(row.seq, row.handle, row.content) for row in rows if left_at is None or row.created_at <= left_at]
        return _Heard(discussion, seats[-1], known_seq, said)

    async def _ask(self, one: Remembering, model: Model, heard: _Heard, part: Sequence[Said]) -> list[Distilled]:
        """Raise `ModelMalformed` if the answer is of no use."""
        request = ChatRequest(
            model=model.wire_name,
            messages=distilling_prompt(heard.seat.name, heard.seat.handle, heard.discussion.topic, part),
            max_tokens=_reply_tokens(model),
            temperature=0.0,
            response_schema=FACTS_SCHEMA,
        )
        answer = await self._calls.ask(one.workspace_id, heard.discussion.created_by, model, request)
        facts = read_facts(answer.text, {said.seq for said in part})
        if facts is None:
            raise ModelMalformed("the model's answer holds no list of facts")
        return facts

    async def _keep(
        self, one: Remembering, known_seq: int, through_seq: int, facts: Sequence[tuple[Distilled, Direction]]
    ) -> bool:
        """Write the facts of the part; False if another has read on meanwhile."""
        async with self._uow(one.workspace_id) as work:
            _check_wants(await work.agents.get(one.agent_id, for_update=True))
            await work.discussions.get_to_copy(one.discussion_id)
            if await work.memories.distilled_through(one.discussion_id, one.agent_id) != known_seq:
                return False
            for fact, direction in facts:
                await _remember(work, one, fact, direction)
            await keep_within_room(work, one.agent_id)
            await work.memories.note_distilled(one.discussion_id, one.agent_id, through_seq)
        log.info("distilled", discussion_id=str(one.discussion_id), agent_id=str(one.agent_id), facts=len(facts))
        return True

    async def _later(self, one: Remembering, reason: str, due: Due) -> None:
        async with self._uow(one.workspace_id) as work:
            at = due(work.now())
            if at is not None and one.attempt < MOST_TRIES:
                await work.jobs.defer(
                    REMEMBER_TASK,
                    ASSISTANT_QUEUE,
                    at=at,
                    workspace_id=str(one.workspace_id),
                    discussion_id=str(one.discussion_id),
                    agent_id=str(one.agent_id),
                    attempt=one.attempt + 1,
                )
                log.warning("distilling_put_off", discussion_id=str(one.discussion_id), reason=reason, until=str(at))
                return
        log.error("distilling_given_up", discussion_id=str(one.discussion_id), reason=reason)


def _check_wants(agent: Agent) -> None:
    """Raise `NotFound` if the agent is to remember nothing by now."""
    if not AgentConfig.model_validate(agent.config).memory.long_term:
        raise NotFound("the agent has no long-term memory")


async def _remember(work: UnitOfWork, one: Remembering, fact: Distilled, direction: Direction) -> None:
    """Add the fact, or let it strengthen the memory that says the same."""
    heard = Fact(fact.content, fact.importance, {one.discussion_id: fact.seqs})
    for memory in await work.memories.list_alike(one.agent_id, direction, SAME_FACT_SIMILARITY, ALIKE):
        if says_the_same(memory.content, heard.content):
            await _join(work, memory, heard, direction)
            return
    memory = Memory(
        id=new_id(),
        workspace_id=one.workspace_id,
        agent_id=one.agent_id,
        content=heard.content,
        importance=heard.importance,
        source=DISCUSSION,
    )
    await work.memories.add(memory, direction, heard.sources)


async def _join(work: UnitOfWork, memory: Memory, heard: Fact, direction: Direction) -> None:
    sources = (await work.memories.sources_of([memory.id]))[memory.id]
    known = Fact(memory.content, memory.importance, sources, is_worded_by_person=memory.created_by is not None)
    joined = known.joined(heard)
    memory.importance = joined.importance
    if joined.content != memory.content:
        await work.memories.reword(memory, joined.content, direction)
    await work.memories.add_sources(memory.id, joined.sources)


def _left_at(seats: Sequence[Participant]) -> datetime | None:
    """When the agent's last seat was left; None: it stayed."""
    left = [seat.left_at for seat in seats if seat.left_at is not None]
    return max(left) if len(left) == len(seats) else None


def _reply_tokens(model: Model) -> int:
    return min(REPLY_TOKENS, model.context_tokens // 4)


def _room(model: Model) -> int:
    """Tokens for what was said."""
    return max(model.context_tokens - _reply_tokens(model) - PROMPT_MARGIN_TOKENS - RULES_TOKENS, 200)
