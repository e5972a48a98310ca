"""The running summary of a discussion, for prompts that cannot hold its beginning.

It holds only what was said to everybody. Each summary is made of the one before and what came after it, and is written
only in its place: an older job never overwrites a newer summary. No turn waits for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import structlog

from app.core.errors import NotFound
from app.domain.context import estimate_tokens
from app.domain.retold import Said, first_part
from app.domain.summaries import SUMMARY_TOKENS, read_summary, summary_prompt
from app.domain.visibility import EVERYBODY
from app.models import Discussion
from app.repositories.jobs import ASSISTANT_QUEUE, SUMMARISE_TASK
from app.repositories.messages import cursor_at
from app.repositories.summaries import Summary
from app.services.ai_models import Model
from app.services.assistant_model import Assistants
from app.services.memory.side_work import MOST_TRIES, Due, next_budget, next_try
from app.services.prompts import PROMPT_MARGIN_TOKENS
from app.services.providers.base import ChatRequest, ModelError, ModelMalformed
from app.services.side_calls import NoBudgetLeft, SideCalls
from app.services.unit_of_work import UnitOfWorkFactory

log = structlog.stdlib.get_logger(__name__)

PAGE = 200
MOST_PARTS = 50
RULES_TOKENS = 400
NONE_YET = Summary("", 0, "")


@dataclass(frozen=True, slots=True)
class Summarising:
    """A discussion whose summary is due, once so much was said since the last one; `attempt` counts from 1."""

    workspace_id: UUID
    discussion_id: UUID
    least_tokens: int = 0
    attempt: int = 1


class Summaries:
    """Makes, extends and finds summaries."""

    def __init__(self, uow: UnitOfWorkFactory, assistants: Assistants, calls: SideCalls) -> None:
        self._uow = uow
        self._assistants = assistants
        self._calls = calls

    async def find(self, workspace_id: UUID, discussion_id: UUID) -> str | None:
        """The summary as it is by now."""
        async with self._uow.reading(workspace_id) as work:
            found = await work.summaries.find(discussion_id)
        return found.text if found is not None else None

    async def extend(self, one: Summarising) -> None:
        """By all that was said since; where the model fails or no budget is left it is tried again later."""
        try:
            for _ in range(MOST_PARTS):
                if not await self._next_part(one):
                    return
        except NotFound:
            return  # the discussion is gone
        except NoBudgetLeft as error:
            await self._later(one, error.code, next_budget)
        except ModelError as error:
            await self._later(one, error.code, lambda now: next_try(one.attempt, now))

    async def _next_part(self, one: Summarising) -> bool:
        """Cover as much more as the model can take; False: there is too little left, or nobody to do it."""
        discussion, before, said = await self._said_since(one)
        if not said or (len(said) < PAGE and sum(map(_tokens, said)) < one.least_tokens):
            return False
        model = await self._assistants.find(one.workspace_id)
        if model is None:
            log.warning("not_summarised", discussion_id=str(one.discussion_id), reason="no_assistant_model")
            return False
        part = first_part(said, max(_room(model) - estimate_tokens(before.text), 200))
        text = await self._ask(one, model, discussion, before, part)
        async with self._uow(one.workspace_id) as work:
            return await work.summaries.extend(
                one.discussion_id, Summary(text, part[-1].seq, model.name), before.through_seq
            )

    async def _said_since(self, one: Summarising) -> tuple[Discussion, Summary, list[Said]]:
        async with self._uow.reading(one.workspace_id) as work:
            discussion = await work.discussions.get(one.discussion_id)
            found = await work.summaries.find(one.discussion_id)
            before = Summary(found.text, found.through_seq, found.model) if found is not None else NONE_YET
            rows, _rest = await work.messages.list_page(
                one.discussion_id,
                EVERYBODY,
                newest_first=False,
                limit=PAGE,
                cursor=cursor_at(before.through_seq, newest_first=False),
            )
        return discussion, before, [Said(row.seq, row.handle, row.content) for row in rows]

    async def _ask(
        self, one: Summarising, model: Model, discussion: Discussion, before: Summary, part: Sequence[Said]
    ) -> str:
        request = ChatRequest(
            model=model.wire_name,
            messages=summary_prompt(discussion.topic, before.text, part),
            max_tokens=_reply_tokens(model),
            temperature=0.0,
        )
        answer = await self._calls.ask(one.workspace_id, discussion.created_by, model, request)
        text = read_summary(answer.text)
        if not text:
            raise ModelMalformed("the model's summary is empty")
        return text

    async def _later(self, one: Summarising, reason: str, due: Due) -> None:
        async with self._uow(one.workspace_id) as work:
            at = due(work.now())
            if at is not None and one.attempt < MOST_TRIES:
                later = replace(one, attempt=one.attempt + 1)
                await work.jobs.defer(SUMMARISE_TASK, ASSISTANT_QUEUE, at=at, **arguments(later))
                log.warning("summary_put_off", discussion_id=str(one.discussion_id), reason=reason, until=str(at))
                return
        log.error("summary_given_up", discussion_id=str(one.discussion_id), reason=reason)


def arguments(one: Summarising) -> dict[str, str | int]:
    """Of its job."""
    ids = {"workspace_id": str(one.workspace_id), "discussion_id": str(one.discussion_id)}
    return {**ids, "least_tokens": one.least_tokens, "attempt": one.attempt}


def _tokens(message: Said) -> int:
    return estimate_tokens(message.line())


def _reply_tokens(model: Model) -> int:
    return min(SUMMARY_TOKENS, model.context_tokens // 4)


def _room(model: Model) -> int:
    """Tokens for the summary so far and what was said since."""
    return model.context_tokens - _reply_tokens(model) - PROMPT_MARGIN_TOKENS - RULES_TOKENS
