"""Steps of a discussion's life, inside the caller's unit of work with the discussion's row locked or new."""

from collections.abc import Sequence
from uuid import UUID

from app.core.clock import rfc3339, utc_now
from app.core.ids import new_id
from app.domain import events
from app.domain.budgets import anew_after_pause
from app.domain.discussion import Step, advance
from app.domain.endings import POLICY_IS_OVER, Ending
from app.domain.events import NextSpeaker
from app.domain.limits import Limits
from app.domain.policies import History, Spoken
from app.domain.progress import Floor, Table
from app.domain.stop_conditions import reach
from app.domain.visibility import EVERYBODY
from app.models import Discussion, Participant, Turn
from app.repositories.jobs import PRIORITIES, GivenFloor
from app.services.discussion_views import floor_of, spending_of, table_of
from app.services.unit_of_work import UnitOfWork

Seats = Sequence[Participant]


async def history_of(work: UnitOfWork, discussion: Discussion) -> History:
    """What the policy may know of the discussion's past."""
    if discussion.turn == 0 and discussion.last_seq == 0:
        return History(0, None)
    messages, _turns = reach(discussion.stop_when)
    most = max(messages, RECENT_MESSAGES)
    recent = await work.messages.list_recent(discussion.id, EVERYBODY, most, discussion.last_seq)
    return History(
        turn=discussion.turn,
        last_speaker=discussion.last_speaker_id,
        turns=await work.messages.list_recent_turns(discussion.id, RECENT_TURNS),
        recent=[Spoken(message.participant_id, message.turn, message.content) for message in reversed(recent)],
        state=discussion.policy_state,
    )


RECENT_MESSAGES = 102
RECENT_TURNS = 102
"""Twice the largest roster and a little more."""


def begin(work: UnitOfWork, discussion: Discussion, participants: Seats, history: History) -> None:
    """Start a draft and give its first speaker the floor."""
    over = table_of(discussion, participants).limits.over(spending_of(discussion))
    floor = next_floor(discussion, participants, history) if over is None else None
    discussion.status = advance(discussion.status, Step.START)
    discussion.started_at = utc_now()
    work.log.append(discussion, events.discussion_started(floor.speaker if floor else None))
    if over is not None:  # a fork may have spent already what it may spend
        end(work, discussion, Ending(over))
    elif floor is not None:
        give_floor(work, discussion, participants, floor)


def go_on_to_next(work: UnitOfWork, discussion: Discussion, participants: Seats, history: History, step: Step) -> None:
    """Run again, with whoever is next; a policy that asks models first is left to the driver.

    An agent also needs `queue_driver`.
    """
    table = table_of(discussion, participants)
    asks = table.must_ask(history)
    floor = None if asks else table.choose(history)
    take_floor(discussion)
    discussion.status = advance(discussion.status, step)
    work.log.append(discussion, events.discussion_resumed(floor.speaker if floor else None))
    if floor is not None:
        give_floor(work, discussion, participants, floor)
    elif not asks:
        end(work, discussion, POLICY_IS_OVER)


def next_floor(discussion: Discussion, participants: Seats, history: History) -> Floor | None:
    """Who will get the floor, None where that has to be asked or nobody is left."""
    table = table_of(discussion, participants)
    return None if table.must_ask(history) else table.choose(history)


def name_next(discussion: Discussion, participants: Seats, history: History) -> None:
    """Say who will speak, if that can be told without asking anybody; nobody is given the floor yet."""
    floor = next_floor(discussion, participants, history)
    speaker = floor.speaker if floor else None
    discussion.speaker_id = speaker.participant_id if speaker else None
    discussion.speaker_reason = speaker.reason if speaker else None
    if floor is not None:
        discussion.policy_state = dict(floor.state) if floor.state is not None else None


def rest(work: UnitOfWork, discussion: Discussion, participants: Seats, step: Step, reason: str) -> None:
    """Pause it now: whoever drives it is fenced off, a turn that is open stays so, nobody is waited for."""
    discussion.status = advance(discussion.status, step)
    discussion.pause_requested = False
    discussion.wrap_up = anew_after_pause(discussion.wrap_up)
    if discussion.floor_id is not None:  # given anew when resumed
        discussion.floor_id = discussion.deadline_at = discussion.wrap_up = None
    fence_off(discussion)
    work.log.append(discussion, events.discussion_paused(floor_of(discussion, participants), reason))


def give_up(work: UnitOfWork, discussion: Discussion) -> None:
    """Pause a running discussion that no driver can drive, for a reason of ours."""
    take_floor(discussion)
    discussion.status = advance(discussion.status, Step.FAIL)
    discussion.pause_requested, discussion.wrap_up = False, None
    fence_off(discussion)
    work.log.append(discussion, events.discussion_paused(None, "driver_failed"))


def go_on(work: UnitOfWork, discussion: Discussion, participants: Seats, speaker: NextSpeaker) -> None:
    """Resume a paused discussion with whoever has the floor."""
    discussion.status = advance(discussion.status, Step.RESUME)
    work.log.append(discussion, events.discussion_resumed(speaker))
    seat = next(seat for seat in participants if seat.id == speaker.participant_id)
    if seat.kind != "llm":
        wait_for(work, discussion, seat, speaker)


def give_floor(work: UnitOfWork, discussion: Discussion, participants: Seats, floor: Floor) -> None:
    """Hand the floor of a running discussion to a speaker; one from outside, or a human's choice, is waited for."""
    discussion.policy_state = dict(floor.state) if floor.state is not None else None
    if floor.speaker is None:
        _wait(work, discussion, None, "human")
        return
    discussion.speaker_id, discussion.speaker_reason = floor.speaker.participant_id, floor.speaker.reason
    seat = next(seat for seat in participants if seat.id == floor.speaker.participant_id)
    if seat.kind != "llm":
        wait_for(work, discussion, seat, floor.speaker)


def wait_for(work: UnitOfWork, discussion: Discussion, seat: Participant, speaker: NextSpeaker) -> None:
    """Somebody outside has the floor, until the deadline."""
    discussion.wrap_up = Limits(**discussion.limits).last_turn(spending_of(discussion))
    floor_id = _wait(work, discussion, speaker, seat.kind)
    if seat.kind == "external":
        work.jobs.tell_external(GivenFloor(discussion.workspace_id, discussion.id, floor_id))


def _wait(work: UnitOfWork, discussion: Discussion, speaker: NextSpeaker | None, kind: str) -> UUID:
    """Wait for the speaker, or for a human to choose one; return the id of this giving of the floor."""
    discussion.status = advance(discussion.status, Step.WAIT)
    discussion.floor_id = floor_id = new_id()
    seconds = discussion.waiting.get(f"{kind}_seconds")
    discussion.deadline_at = Limits(**discussion.limits).deadline(work.now(), seconds, discussion.started_at)
    deadline = rfc3339(discussion.deadline_at) if discussion.deadline_at else None
    is_last = speaker is not None and discussion.wrap_up is not None
    work.log.append(discussion, events.discussion_waiting(speaker, deadline, discussion.policy_state, is_last=is_last))
    return floor_id


async def after_turn(
    work: UnitOfWork, discussion: Discussion, participants: Seats, *, said_to_all: bool = True
) -> None:
    """After a turn of somebody from outside: the end, or the next speaker, with a driver queued where one is needed.

    What was whispered ends nothing.
    """
    history = await history_of(work, discussion)
    if end_if_over(work, discussion, table_of(discussion, participants), history, said_to_all=said_to_all):
        return
    go_on_to_next(work, discussion, participants, history, Step.GO_ON)
    await queue_driver(work, discussion)


def close_turn(
    work: UnitOfWork, discussion: Discussion, seat: Participant, outcome: str, message_id: UUID, attempt: int = 1
) -> None:
    """The open turn's number is used up, by that seat or its stand-in."""
    discussion.turn += 1
    discussion.last_speaker_id = seat.stands_in_for or seat.id
    work.messages.add_turn(
        Turn(
            workspace_id=discussion.workspace_id,
            discussion_id=discussion.id,
            turn=discussion.turn,
            attempt=attempt,
            participant_id=seat.id,
            message_id=message_id,
            outcome=outcome,
            reason=discussion.speaker_reason or "",
            finished_at=utc_now(),
        )
    )


async def pass_turn(
    work: UnitOfWork, discussion: Discussion, participants: Seats, seat: Participant, reason: str
) -> None:
    """Whoever from outside has the floor says nothing; the turn's number is used up and the discussion goes on."""
    close_turn(work, discussion, seat, "passed", new_id())
    work.log.append(discussion, events.turn_passed(discussion.turn, 1, seat.id, reason))
    await after_turn(work, discussion, participants)


async def let_stand_in(work: UnitOfWork, discussion: Discussion, stand_in: Participant) -> None:
    """The stand-in takes the turn of whoever has the floor, in its own name; it counts as theirs."""
    take_floor(discussion)
    discussion.status = advance(discussion.status, Step.GO_ON)
    discussion.speaker_id, discussion.speaker_reason = stand_in.id, "stand_in"
    speaker = NextSpeaker(stand_in.id, stand_in.handle, "stand_in")
    work.log.append(discussion, events.discussion_resumed(speaker))
    await queue_driver(work, discussion)


def take_floor(discussion: Discussion) -> None:
    """Nobody has the floor and no turn is open."""
    discussion.speaker_id = discussion.speaker_reason = None
    discussion.turn_message_id = discussion.floor_id = discussion.deadline_at = None
    discussion.turn_attempt = discussion.turn_epoch = 0


def fence_off(discussion: Discussion) -> None:
    """Whoever drives it may write no more."""
    discussion.epoch += 1
    discussion.lease_owner = discussion.lease_until = None


async def queue_driver(work: UnitOfWork, discussion: Discussion) -> None:
    """Queue a driver, in this transaction, if the discussion runs."""
    if discussion.status == "running":
        await work.jobs.drive(discussion.id, PRIORITIES[discussion.priority])


def end_if_over(work: UnitOfWork, discussion: Discussion, table: Table, history: History, *, said_to_all: bool) -> bool:
    """After a turn from outside: end it if a stop condition or a limit says so, else warn of limits that are near."""
    used = spending_of(discussion)
    ending = table.ending(history, used, discussion.wrap_up, was_heard=said_to_all)
    if ending is not None:
        end(work, discussion, ending)
        return True
    for one in table.limits.warnings(used, discussion.warned):
        work.log.append(discussion, events.limit_warning(one))
        discussion.warned = [*discussion.warned, one.limit]
    return False


def end(work: UnitOfWork, discussion: Discussion, ending: Ending, step: Step = Step.END) -> None:
    """End it: nobody has the floor, and whoever drives it is fenced off."""
    discussion.status = advance(discussion.status, step)
    discussion.end_reason = ending.reason
    discussion.pause_requested = False
    take_floor(discussion)
    fence_off(discussion)
    work.log.append(discussion, events.discussion_ended(ending.reason, ending.detail))
    work.jobs.remember(discussion.workspace_id, discussion.id)
