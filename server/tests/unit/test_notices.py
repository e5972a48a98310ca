"""Listeners of a workspace: what is read for them is shared, and nothing of it is kept for long."""

from uuid import UUID

import orjson
import pytest

from app.domain.seen import Seen
from app.repositories.status_changes import StatusChange
from app.services.live.notices import KEPT_READINGS, PAGE, Listener, Notices, seen_of
from app.services.live.streams import Standing
from app.services.live.watch import BATCH_BYTES

pytestmark = pytest.mark.anyio

WORKSPACE = UUID(int=1)
NOW = 5_000


class Log:
    """Stands for the notices' port: what transactions did to discussions, in order; all have committed."""

    def __init__(self, changes: dict[int, int], under_way: tuple[int, ...] = ()) -> None:
        """`changes`: how many discussions each transaction changed."""
        self.seen = Seen.of(NOW, under_way)
        self.changes = [
            StatusChange(xid, UUID(int=xid * 1000 + n), 1, "discussion.started", "", "running", None, None, "Why?")
            for xid, count in changes.items()
            for n in range(count)
        ]

    async def now(self):
        return self.seen

    async def since(self, workspace_id, seen, limit):
        return [change for change in self.changes if not seen.includes(change.xid)][:limit], self.seen


def listener_from(seen):
    return Listener(Standing(UUID(int=2), UUID(int=3)), WORKSPACE, seen, heartbeat_seconds=60, life_seconds=600)


async def all_told(notices, seen, upto=NOW):
    """The batches a listener is given up to the last of the log."""
    batches = []
    async with notices.hearing(listener_from(seen)) as hearing:
        while not batches or not seen_of(batches[-1].frames[-1].event_id).includes(upto):
            batch = await hearing.next()
            assert batch is not None
            batches.append(batch)
    return batches


def told(batches):
    return [orjson.loads(frame.data)["discussion_id"] for batch in batches for frame in batch.frames]


async def test_many_who_come_back_leave_nothing_behind_while_somebody_stays():
    notices = Notices(Log({4_000: 1}))
    async with notices.hearing(listener_from(Seen.of(NOW, ()))):
        for xmax in range(1, 1_000):
            await all_told(notices, Seen.of(xmax, ()), 4_000)
        [watch] = notices._watches.values()

        assert 0 < len(watch.read) <= KEPT_READINGS


async def test_what_one_transaction_did_is_told_whole_however_much_it_is():
    log = Log({10: 3, 11: 5 * PAGE // 2, 12: 1})

    batches = await all_told(Notices(log), Seen.of(1, ()), 12)

    assert told(batches) == [str(change.discussion_id) for change in log.changes]


async def test_notices_with_long_ids_come_in_small_batches():
    under_way = tuple(range(1_000, 2_000))
    log = Log(dict.fromkeys(range(3000, 3050), 1), under_way)

    batches = await all_told(Notices(log), Seen.of(2_500, under_way), 3_049)

    assert told(batches) == [str(change.discussion_id) for change in log.changes]
    longest = max(len(frame.event_id) + len(frame.data) for batch in batches for frame in batch.frames)
    assert longest > BATCH_BYTES / 10
    for batch in batches:
        assert sum(len(frame.event_id) + len(frame.data) for frame in batch.frames) < BATCH_BYTES + longest
