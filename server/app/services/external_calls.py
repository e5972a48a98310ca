"""Telling an external agent that it has the floor: a signed webhook that carries the turn's token.

Always holds: a try is made only while the floor is still the agent's, and its job was queued in the transaction that
gave the floor or in the one that recorded the try before. No transaction is open while the agent is asked.

What a crash leaves: the job, which another worker takes up; the webhook then comes twice, with the same
`X-Arena-Delivery`. At least once, while the floor lasts; at most one answer is taken, since the token is good once.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID

import orjson
import structlog

from app.core.clock import rfc3339
from app.core.errors import NotFound
from app.core.outgoing import Answer, Outgoing, Unreachable
from app.core.public_addresses import ForbiddenAddress
from app.core.turn_tokens import TurnRight, TurnTokens
from app.core.webhooks import WebhookSigner
from app.domain.discussion import Status
from app.domain.visibility import Reader
from app.models import Discussion, Message, Participant
from app.repositories.jobs import GivenFloor
from app.schemas.agent import AgentConfig
from app.services.discussion_views import table_of
from app.services.floor_deadlines import FloorDeadlines
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.webhook_messages import webhook_messages

log = structlog.stdlib.get_logger(__name__)

BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 300.0
# Without a deadline tries end some time: these take about an hour.
MOST_TRIES = 20
RECENT_MESSAGES = 100
# Of the tries that a worker has in hand at once; agents that hang leave the rest of them to other workspaces.
MOST_AT_ONCE_OF_A_WORKSPACE = 10
PUT_BACK_SECONDS = 1.0
_WORTH_ANOTHER_TRY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


@dataclass(frozen=True, slots=True)
class Call:
    """A webhook that is ready to be sent; without a URL the agent cannot be told anything."""

    url: str | None
    body: bytes
    headers: Mapping[str, str]
    deadline: datetime | None


class ExternalCalls:
    """Delivers webhooks; each call of `tell` is one try."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        outgoing: Outgoing,
        signer: WebhookSigner,
        tokens: TurnTokens,
        deadlines: FloorDeadlines,
    ) -> None:
        self._uow = uow
        self._outgoing = outgoing
        self._signer = signer
        self._tokens = tokens
        self._deadlines = deadlines
        self._in_hand: Counter[UUID] = Counter()

    async def tell(self, floor: GivenFloor, attempt: int) -> None:
        """Try once. What may pass is tried again later; what will not makes the discussion go on without the agent.

        A try that is too much for the workspace's share is put back, and does not count.
        """
        if self._in_hand[floor.workspace_id] >= MOST_AT_ONCE_OF_A_WORKSPACE:
            async with self._uow(floor.workspace_id) as work:
                work.jobs.tell_external(floor, attempt, work.now() + timedelta(seconds=PUT_BACK_SECONDS))
            return
        self._in_hand[floor.workspace_id] += 1
        try:
            await self._try(floor, attempt)
        finally:
            self._in_hand[floor.workspace_id] -= 1
            if not self._in_hand[floor.workspace_id]:
                del self._in_hand[floor.workspace_id]

    async def _try(self, floor: GivenFloor, attempt: int) -> None:
        call = await self._prepare(floor)
        if call is None:
            log.info("webhook_not_needed", floor_id=str(floor.floor_id), attempt=attempt)
            return
        if call.url is None:
            await self._give_up(floor, attempt, "the agent has no address any more")
            return
        try:
            answer = await self._outgoing.post(call.url, call.body, call.headers)
        except ForbiddenAddress as error:
            await self._give_up(floor, attempt, error.detail)
        except Unreachable as error:
            await self._try_again(floor, attempt, call, error.detail)
        else:
            await self._judge(floor, attempt, call, answer)

    async def _judge(self, floor: GivenFloor, attempt: int, call: Call, answer: Answer) -> None:
        if 200 <= answer.status < 300:
            log.info("webhook_delivered", floor_id=str(floor.floor_id), attempt=attempt, status=answer.status)
        elif answer.status >= 500 or answer.status in _WORTH_ANOTHER_TRY:
            await self._try_again(floor, attempt, call, f"it answered {answer.status}", _retry_after(answer))
        else:
            await self._give_up(floor, attempt, f"it answered {answer.status}")

    async def _prepare(self, floor: GivenFloor) -> Call | None:
        """What to send; None if the floor has moved on or its deadline has passed."""
        async with self._uow(floor.workspace_id) as work:
            try:
                discussion = await work.discussions.get(floor.discussion_id)
            except NotFound:
                return None
            if discussion.status != Status.WAITING or discussion.floor_id != floor.floor_id:
                return None
            if discussion.deadline_at is not None and discussion.deadline_at <= work.now():
                return None
            seats = await work.discussions.list_seats(discussion.id)
            seat = next(seat for seat in seats if seat.id == discussion.speaker_id)
            url = await _endpoint(work, seat)
            reader = Reader(seats=frozenset({seat.id}))
            messages = await work.messages.list_recent(discussion.id, reader, RECENT_MESSAGES, discussion.last_seq)
            now = work.now()
        body = orjson.dumps(self._body(floor, discussion, seats, seat, messages))
        return Call(url, body, self._headers(floor, seat, body, now), discussion.deadline_at)

    def _body(
        self,
        floor: GivenFloor,
        discussion: Discussion,
        seats: Sequence[Participant],
        seat: Participant,
        messages: Sequence[Message],
    ) -> dict[str, Any]:
        right = TurnRight(floor.workspace_id, discussion.id, discussion.turn + 1, seat.id, floor.floor_id)
        brief = table_of(discussion, seats).brief(seat.id, discussion.policy_state)
        return {
            "discussion_id": discussion.id,
            "turn": right.turn,
            "participant_id": seat.id,
            "turn_token": self._tokens.make(right),
            "deadline": rfc3339(discussion.deadline_at) if discussion.deadline_at else None,
            "topic": discussion.topic,
            "instructions": discussion.instructions,
            "instruction": brief.instruction,
            "is_last": discussion.wrap_up is not None,
            "messages": webhook_messages(brief, seat, [one.handle for one in seats], messages),
        }

    def _headers(self, floor: GivenFloor, seat: Participant, body: bytes, now: datetime) -> dict[str, str]:
        """Signed at the database's time, as deadlines are kept by it."""
        headers = {"Content-Type": "application/json", "X-Arena-Delivery": str(floor.floor_id)}
        if seat.agent_id is not None:
            headers["X-Arena-Signature"] = self._signer.sign(seat.agent_id, body, int(now.timestamp()))
        return headers

    async def _try_again(
        self, floor: GivenFloor, attempt: int, call: Call, reason: str, at_least_seconds: float = 0.0
    ) -> None:
        """Queue the next try; one that would come after the deadline is left out, and the deadline does the rest."""
        seconds = max(back_off(attempt), min(at_least_seconds, LONGEST_BACKOFF_SECONDS))
        if call.deadline is None and attempt >= MOST_TRIES:
            await self._give_up(floor, attempt, reason)
            return
        log.warning("webhook_failed", floor_id=str(floor.floor_id), attempt=attempt, reason=reason)
        async with self._uow(floor.workspace_id) as work:
            due = work.now() + timedelta(seconds=seconds)
            if call.deadline is None or due < call.deadline:
                work.jobs.tell_external(floor, attempt + 1, due)

    async def _give_up(self, floor: GivenFloor, attempt: int, reason: str) -> None:
        log.warning("webhook_given_up", floor_id=str(floor.floor_id), attempt=attempt, reason=reason)
        await self._deadlines.give_up(floor)


def back_off(attempt: int) -> float:
    """Seconds until the next try: doubling from about one to about five minutes, and never the same for two."""
    steady = min(BACKOFF_SECONDS * 2.0 ** min(attempt - 1, MOST_TRIES), LONGEST_BACKOFF_SECONDS)
    return steady * random.uniform(0.5, 1.5)  # noqa: S311 - jitter


def _retry_after(answer: Answer) -> float:
    """Seconds that the agent asks for; dates are not understood, and then it is asked again as usual."""
    text: str = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0


async def _endpoint(work: UnitOfWork, seat: Participant) -> str | None:
    """The address in the agent's pinned version."""
    if seat.agent_id is None or seat.agent_version is None:
        return None
    pin = (seat.agent_id, seat.agent_version)
    found = (await work.agents.pinned_configs([pin])).get(pin)
    config = AgentConfig.model_validate(found) if found else None
    return str(config.endpoint_url) if config and config.endpoint_url else None
