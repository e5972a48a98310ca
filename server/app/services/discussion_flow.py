"""Steps of a discussion's life, inside the caller's unit of work with the discussion's row locked or new."""

from collections.abc import Sequence

from app.core.clock import utc_now
from app.domain import events
from app.domain.discussion import EndReason, Status, advance
from app.models import Discussion, Participant
from app.repositories.jobs import PRIORITIES
from app.services.discussion_views import history_of, table_of
from app.services.unit_of_work import UnitOfWork


def open_floor(work: UnitOfWork, discussion: Discussion, participants: Sequence[Participant]) -> None:
    """Start a draft: choose the first speaker and give it the floor."""
    speaker = table_of(discussion, participants).choose(history_of(discussion))
    discussion.status = advance(Status(discussion.status), Status.RUNNING)
    discussion.started_at = utc_now()
    work.log.append(discussion, events.discussion_started(speaker))
    give_floor(work, discussion, participants, speaker)


def give_floor(
    work: UnitOfWork, discussion: Discussion, participants: Sequence[Participant], speaker: events.NextSpeaker
) -> None:
    """Hand the floor of a running discussion to `speaker`; a person is waited for, an agent needs `queue_driver`."""
    discussion.speaker_id, discussion.speaker_reason = speaker.participant_id, speaker.reason
    if any(seat.id == speaker.participant_id and seat.kind != "llm" for seat in participants):
        discussion.status = advance(Status(discussion.status), Status.WAITING)
        work.log.append(discussion, events.discussion_waiting(speaker))


async def queue_driver(work: UnitOfWork, discussion: Discussion) -> None:
    """Queue a driver, in this transaction, if the discussion runs."""
    if discussion.status == Status.RUNNING:
        await work.jobs.drive(discussion.id, PRIORITIES[discussion.priority])


def end(work: UnitOfWork, discussion: Discussion, reason: EndReason) -> None:
    """End it: nobody has the floor, and whoever drives it is fenced off."""
    discussion.status = advance(Status(discussion.status), Status.ENDED)
    discussion.end_reason = reason
    discussion.speaker_id = discussion.speaker_reason = None
    discussion.turn_message_id = None
    discussion.turn_attempt = discussion.turn_epoch = 0
    discussion.epoch += 1
    discussion.lease_owner = discussion.lease_until = None
    work.log.append(discussion, events.discussion_ended(reason))
