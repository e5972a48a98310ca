"""Stand-ins: agents that take the turns which a person or an external agent lets pass, in their own name."""

from collections.abc import Sequence

from app.core.clock import utc_now
from app.core.errors import Invalid, NotFound
from app.core.ids import new_id
from app.domain.handles import free_handle
from app.models import Agent, Discussion, Participant
from app.schemas.discussion import ParticipantCreate
from app.services.seating_order import next_position
from app.services.unit_of_work import UnitOfWork


class AgentNotFound(NotFound):
    """A participant names an agent that the workspace does not have."""

    code = "agent_not_found"


class UnsupportedStandIn(Invalid):
    """Only an llm agent stands in, and only for somebody who may fail to answer."""

    code = "unsupported_stand_in"
    where = ("body", "participants")


async def seat_stand_ins(
    work: UnitOfWork,
    discussion: Discussion,
    wanted: Sequence[ParticipantCreate],
    seats: Sequence[Participant],
    others: Sequence[Participant] = (),
) -> list[Participant]:
    """The seat outside the speaking order of everybody's stand-in.

    `seats` are those of `wanted`, in the same order; `others` are or were at the table before, maybe some of `seats`
    among them. One agent may stand in for several, at a seat of its own for each, which it has again if it had it
    before. Who says nothing of a stand-in has again the one they had.
    """
    agent_ids = {one.stand_in_agent_id for one in wanted if one.stand_in_agent_id}
    agents = await work.agents.find_many(agent_ids) if agent_ids else {}
    table = list({seat.id: seat for seat in (*others, *seats)}.values())
    stand_ins: list[Participant] = []
    for one, principal in zip(wanted, seats, strict=True):
        if one.stand_in_agent_id and one.stand_in_agent_id not in agents:
            raise AgentNotFound(f"there is no agent {one.stand_in_agent_id}")
        stand_in = _earlier(one, [seat for seat in others if seat.stands_in_for == principal.id])
        if stand_in is not None:
            stand_in.left_at = None
        elif one.stand_in_agent_id:
            stand_in = _seat(discussion, agents[one.stand_in_agent_id], principal, table)
            table.append(stand_in)
        stand_ins += [stand_in] if stand_in is not None else []
    return stand_ins


def _earlier(wanted: ParticipantCreate, had: Sequence[Participant]) -> Participant | None:
    """Of the stand-ins that somebody had, the one that is asked for, or the latest if none is spoken of."""
    if "stand_in_agent_id" in wanted.model_fields_set:
        return next((seat for seat in had if seat.agent_id and seat.agent_id == wanted.stand_in_agent_id), None)
    now = utc_now()
    return max((seat for seat in had if seat.agent_id), key=lambda seat: seat.left_at or now, default=None)


def _seat(discussion: Discussion, agent: Agent, principal: Participant, table: Sequence[Participant]) -> Participant:
    if agent.kind != "llm" or principal.kind == "llm":
        raise UnsupportedStandIn(
            f"@{agent.handle} cannot stand in for @{principal.handle}: an llm agent stands in for a person or an "
            "external agent"
        )
    return Participant(
        id=new_id(),
        workspace_id=discussion.workspace_id,
        discussion_id=discussion.id,
        position=next_position(table),
        kind=agent.kind,
        role="stand_in",
        handle=free_handle(agent.handle, {seat.handle for seat in table}),
        name=agent.name,
        agent_id=agent.id,
        agent_version=agent.version,
        stands_in_for=principal.id,
    )
