"""Steps of a discussion's life, inside the caller's unit of work with the discussion's row locked or new."""

from collections.abc import Sequence
from datetime import timedelta

from app.core.clock import rfc3339, utc_now
from app.core.ids import new_id
from app.domain import events
from app.domain.discussion import EndReason, Step, advance
from app.domain.events import NextSpeaker
from app.domain.limits import Limits
from app.domain.policies import History, Spoken
from app.domain.progress import Floor, Table
from app.domain.stop_conditions import find_met, reach
from app.models import Discussion, Participant
from app.repositories.jobs import PRIORITIES
from app.services.discussion_views import spending_of, table_of
from app.services.unit_of_work import UnitOfWork

Seats = Sequence[Participant]


async def history_of(work: UnitOfWork, discussion: Discussion) -> History:
    """What the policy may know of the discussion's past."""
    if discussion.turn == 0 and discussion.last_seq == 0:
        return History(0, None)
    messages, _turns = reach(discussion.stop_when)
    recent = await work.messages.list_recent(discussion.id, max(messages, RECENT_MESSAGES), discussion.last_seq)
    return History(
        turn=discussion.turn,
        last_speaker=discussion.last_speaker_id,
        turns=await work.messages.list_recent_turns(discussion.id, RECENT_TURNS),
        recent=[
            Spoken(message.participant_id, message.turn, message.content)
            for message in reversed(recent)
            if message.visible_to is None
        ],
        state=discussion.policy_state,
    )


RECENT_MESSAGES = 102
RECENT_TURNS = 102
"""Twice the largest roster and a little more."""


def begin(work: UnitOfWork, discussion: Discussion, participants: Seats, history: History) -> None:
    """Start a draft and give its first speaker the floor."""
    floor = next_floor(discussion, participants, history)
    discussion.status = advance(discussion.status, Step.START)
    discussion.started_at = utc_now()
    work.log.append(discussion, events.discussion_started(floor.speaker if floor else None))
    if floor is not None:
        give_floor(work, discussion, participants, floor)


def hand_on(work: UnitOfWork, discussion: Discussion, participants: Seats, history: History) -> None:
    """Give the floor of a running discussion to whoever is next; a policy that asks models first is left to the driver.

    An agent also needs `queue_driver`.
    """
    table = table_of(discussion, participants)
    take_floor(discussion)
    if table.must_ask(history):
        return
    floor = table.choose(history)
    if floor is None:
        end(work, discussion, EndReason.STOP_CONDITION, "the turn policy has come to its end")
    else:
        give_floor(work, discussion, participants, floor)


def next_floor(discussion: Discussion, participants: Seats, history: History) -> Floor | None:
    """Who will get the floor, None where that has to be asked or nobody is left."""
    table = table_of(discussion, participants)
    return None if table.must_ask(history) else table.choose(history)


def give_floor(work: UnitOfWork, discussion: Discussion, participants: Seats, floor: Floor) -> None:
    """Hand the floor of a running discussion to a speaker; one from outside is waited for."""
    discussion.policy_state = dict(floor.state) if floor.state is not None else None
    if floor.speaker is None:
        discussion.status = advance(discussion.status, Step.WAIT)
        work.log.append(discussion, events.discussion_waiting(None, policy_state=floor.state))
        return
    discussion.speaker_id, discussion.speaker_reason = floor.speaker.participant_id, floor.speaker.reason
    seat = next(seat for seat in participants if seat.id == floor.speaker.participant_id)
    if seat.kind != "llm":
        wait_for(work, discussion, seat, floor.speaker)


def wait_for(work: UnitOfWork, discussion: Discussion, seat: Participant, speaker: NextSpeaker) -> None:
    """Somebody outside has the floor, until the deadline."""
    discussion.status = advance(discussion.status, Step.WAIT)
    last = Limits(**discussion.limits).last_turn(spending_of(discussion))
    discussion.wrap_up = last
    discussion.floor_id = new_id()
    seconds = discussion.waiting.get(f"{seat.kind}_seconds")
    discussion.deadline_at = None if seconds is None else utc_now() + timedelta(seconds=seconds)
    deadline = rfc3339(discussion.deadline_at) if discussion.deadline_at else None
    waiting = events.discussion_waiting(speaker, deadline, discussion.policy_state, is_last=last is not None)
    work.log.append(discussion, waiting)


def take_floor(discussion: Discussion) -> None:
    """Nobody has the floor and no turn is open."""
    discussion.speaker_id = discussion.speaker_reason = None
    discussion.turn_message_id = discussion.floor_id = discussion.deadline_at = None
    discussion.turn_attempt = discussion.turn_epoch = 0


async def queue_driver(work: UnitOfWork, discussion: Discussion) -> None:
    """Queue a driver, in this transaction, if the discussion runs."""
    if discussion.status == "running":
        await work.jobs.drive(discussion.id, PRIORITIES[discussion.priority])


def end_if_over(work: UnitOfWork, discussion: Discussion, table: Table, history: History) -> bool:
    """After a turn from outside: end it if a stop condition or a limit says so, else warn of limits that are near."""
    used = spending_of(discussion)
    met = find_met(table.stop_when, table.seats, history)
    reason = EndReason.STOP_CONDITION if met is not None else table.limits.over(used, discussion.wrap_up)
    if reason is not None:
        end(work, discussion, reason, met)
        return True
    for one in table.limits.warnings(used, discussion.warned):
        work.log.append(discussion, events.limit_warning(one.limit, one.used, one.most))
        discussion.warned = [*discussion.warned, one.limit]
    return False


def end(
    work: UnitOfWork, discussion: Discussion, reason: EndReason, detail: str | None = None, step: Step = Step.END
) -> None:
    """End it: nobody has the floor, and whoever drives it is fenced off."""
    discussion.status = advance(discussion.status, step)
    discussion.end_reason = reason
    discussion.pause_requested = False
    take_floor(discussion)
    discussion.epoch += 1
    discussion.lease_owner = discussion.lease_until = None
    work.log.append(discussion, events.discussion_ended(reason, detail))
