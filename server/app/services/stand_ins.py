"""Stand-ins: agents that take the turns which a person or an external agent lets pass, in their own name."""

from collections.abc import Sequence

from app.core.errors import Invalid, NotFound
from app.core.ids import new_id
from app.domain.handles import free_handle
from app.models import Agent, Discussion, Participant
from app.schemas.discussion import ParticipantCreate
from app.services.unit_of_work import UnitOfWork


class AgentNotFound(NotFound):
    """A participant names an agent that the workspace does not have."""

    code = "agent_not_found"


class UnsupportedStandIn(Invalid):
    """Only an llm agent stands in, and only for somebody who may fail to answer."""

    code = "unsupported_stand_in"


async def seat_stand_ins(
    work: UnitOfWork,
    discussion: Discussion,
    wanted: Sequence[ParticipantCreate],
    seats: Sequence[Participant],
    others: Sequence[Participant] = (),
) -> list[Participant]:
    """A seat outside the speaking order for each stand-in that is asked for.

    `seats` are those of `wanted`, in the same order; `others` sat at the table before. One agent may stand in for
    several, at a seat of its own for each.
    """
    agent_ids = {one.stand_in_agent_id for one in wanted if one.stand_in_agent_id}
    if not agent_ids:
        return []
    agents = await work.agents.find_many(agent_ids)
    taken = {seat.handle for seat in (*others, *seats)}
    stand_ins: list[Participant] = []
    for one, principal in zip(wanted, seats, strict=True):
        if one.stand_in_agent_id is None:
            continue
        agent = agents.get(one.stand_in_agent_id)
        if agent is None:
            raise AgentNotFound(f"there is no agent {one.stand_in_agent_id}")
        position = len(others) + len(seats) + len(stand_ins)
        stand_in = _seat(discussion, agent, principal, position, taken)
        taken.add(stand_in.handle)
        stand_ins.append(stand_in)
    return stand_ins


def _seat(discussion: Discussion, agent: Agent, principal: Participant, position: int, taken: set[str]) -> Participant:
    if agent.kind != "llm" or principal.kind == "llm":
        raise UnsupportedStandIn(
            f"@{agent.handle} cannot stand in for @{principal.handle}: an llm agent stands in for a person or an "
            "external agent"
        )
    return Participant(
        id=new_id(),
        workspace_id=discussion.workspace_id,
        discussion_id=discussion.id,
        position=position,
        kind=agent.kind,
        role="stand_in",
        handle=free_handle(agent.handle, taken),
        name=agent.name,
        agent_id=agent.id,
        agent_version=agent.version,
        stands_in_for=principal.id,
    )
