"""What a turn rests on is fetched in bounded time, and no failure of it reaches the turn."""

import asyncio
from types import SimpleNamespace
from uuid import uuid4

import pytest

from app.domain.context import SourceDocument, Utterance
from app.domain.documents import Passage
from app.domain.grounding import NOTHING
from app.domain.limits import Limits
from app.domain.policies import Brief
from app.services.turns.research import Asked, Research
from tests.fixtures.rehearsal import Rehearsal, RehearsalCatalog

pytestmark = pytest.mark.anyio


def passage(text="Rent is 40%.", document_id=None, chunk_id=None):
    return Passage(chunk_id or uuid4(), document_id or uuid4(), uuid4(), "Memo", text, (0, len(text)), None, None, 1.0)


class Shelf:
    """A search that answers as it is told to, and keeps what it was asked."""

    def __init__(self, *found, fails=None, seconds=0.0):
        self.found, self.fails, self.seconds, self.asked = found, fails, seconds, []

    async def find(self, workspace_id, wanted):
        self.asked.append(wanted)
        await asyncio.sleep(self.seconds)
        if self.fails:
            raise self.fails
        return self.found

    async def recall(self, workspace_id, agent_id, about, k):
        return await self.find(workspace_id, about)

    async def __call__(self, workspace_id, discussion_id):
        await self.find(workspace_id, discussion_id)
        return "In short."


def asked(documents=(), brief=None, said=(), room=4000, **config):
    table = Rehearsal(RehearsalCatalog(), [(["x/m"], 100)], Limits()).table
    table._matter = type(table._matter)("What is good?", None, list(documents))
    for number, text in enumerate(said, 1):
        table.heard(Utterance.of("bob", text, uuid4(), number))
    [agent] = table.agents.values()
    changed = agent.config.model_validate({**agent.config.model_dump(), **config})
    seat = type(agent)(agent.participant_id, agent.speaker, changed, agent.counts_as, uuid4())
    return Asked(uuid4(), uuid4(), table, seat, brief or Brief(), room)


BASE = {"knowledge_base_ids": [str(uuid4())]}


async def test_an_agent_without_knowledge_and_memory_asks_for_nothing():
    shelf = Shelf(passage())

    ground = await Research(None, shelf, shelf, shelf).ground(asked())

    assert ground is NOTHING
    assert shelf.asked == []


async def test_the_search_is_for_the_topic_and_what_others_said_last():
    shelf = Shelf(passage())

    ground = await Research(None, shelf).ground(asked(said=["one", "two", "three", "four"], **BASE))

    assert [wanted.query for wanted in shelf.asked] == ["What is good?\ntwo\nthree\nfour"]
    assert [one.text for one in ground.passages] == ["Rent is 40%."]


@pytest.mark.parametrize("shelf", [Shelf(fails=RuntimeError("boom")), Shelf(passage(), seconds=9)])
async def test_what_fails_or_takes_too_long_is_left_out(shelf):
    memory = SimpleNamespace(content="Bob likes figures.")
    turn = asked(memory={"long_term": True}, **BASE)

    ground = await Research(None, shelf, Shelf(memory), seconds=0.05, first_seconds=0.05).ground(turn)

    assert (list(ground.passages), list(ground.memories)) == ([], [memory])


async def test_short_documents_stay_whole_and_long_ones_are_searched():
    long, short = (SourceDocument(name, text, uuid4()) for name, text in (("L", "long " * 9000), ("S", "Short.")))
    found = passage(document_id=long.document_id)
    shelf = Shelf(found, passage(document_id=short.document_id))

    ground = await Research(None, shelf).ground(asked([long, short]))

    assert [list(wanted.document_ids) for wanted in shelf.asked] == [[long.document_id]]
    assert list(ground.parts) == [short.document_id]
    assert [one.chunk_id for one in ground.passages] == [found.chunk_id]
    assert ground.left_out == {long.document_id}


async def test_a_long_document_in_which_nothing_is_found_is_shown_from_its_beginning():
    long = SourceDocument("L", "long " * 9000, uuid4())

    ground = await Research(None, Shelf()).ground(asked([long]))

    assert (list(ground.parts), ground.left_out) == ([long.document_id], frozenset())


async def test_a_passage_that_is_found_twice_is_shown_once():
    long, chunk_id = SourceDocument("L", "long " * 9000, uuid4()), uuid4()
    shelf = Shelf(passage(document_id=long.document_id, chunk_id=chunk_id))

    ground = await Research(None, shelf).ground(asked([long], **BASE))

    assert (len(shelf.asked), [one.chunk_id for one in ground.passages]) == (2, [chunk_id])


@pytest.mark.parametrize(
    ("brief", "summary"),
    [(Brief(), "In short."), (Brief(blind_since=1), None), (Brief(is_anonymous=True), None)],
)
async def test_a_summary_is_there_where_not_all_fits_and_all_may_know_it(brief, summary):
    ground = await Research(None, summaries=Shelf()).ground(asked(brief=brief, said=["word " * 2000] * 3))

    assert ground.summary == summary


@pytest.mark.parametrize(("room", "count"), [(1500, 0), (4000, 1)])
async def test_a_model_with_a_small_window_is_shown_whole_documents_without_numbers(room, count):
    ground = await Research(None).ground(asked([SourceDocument("S", "Short.", uuid4())], room=room))

    assert len(ground.parts) == count
