"""A discussion as it stood at a place in its log."""

from typing import Any
from uuid import UUID

import orjson

from app.domain import snapshot
from app.services.discussion_views import read_discussion
from app.services.unit_of_work import UnitOfWork

PAGE = 200


async def snapshot_at(work: UnitOfWork, discussion_id: UUID, seq: int) -> dict[str, Any]:
    """What `GET /discussions/{id}` would have shown there; costs the reading of the log up to there.

    What no event up to there tells, such as the rules a discussion was opened with, is given as it is now: if it was
    changed meanwhile, a later event says so again.
    """
    discussion = await work.discussions.get(discussion_id)
    now = read_discussion(discussion, []).model_dump(mode="json")
    state: dict[str, Any] = {"version": 1, **snapshot.EMPTY}
    while state["last_seq"] < seq:
        page = await work.log.after(discussion_id, state["last_seq"], min(PAGE, seq - state["last_seq"]))
        if not page:
            break
        for event in page:
            state = snapshot.apply(state, event.seq, event.type, orjson.loads(event.payload))
    return {**now, **{name: state[name] for name in snapshot.FOLDED if name in state}}
