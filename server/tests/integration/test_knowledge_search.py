"""Search in knowledge: what is found, in which order, and what no query can do."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.repositories.passages import BASES_IN_INDEX
from app.services.knowledge.search import KnowledgeSearch, SearchFor
from app.services.providers.base import ModelUnavailable
from app.services.vector_store import Place
from app.services.vector_store_postgresql import PgVectorStore
from tests.factories.corpora import make_workspace, write_chunks

pytestmark = pytest.mark.anyio

TEXTS = (
    "The office rent takes forty percent of what we spend each month.",
    "Working from home four days a week saved the commute of most people.",
    "Expenses for travel are refunded within a fortnight of the receipt.",
    "The canteen serves soup on Mondays, and soup on Tuesdays, too.",
    "A café near the station offers the team a discount.",
)


class ByTopic:
    """An embedding model that knows four topics: the first letters of words."""

    async def embed(self, texts):
        rows = np.zeros((len(texts), 64), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[ord(word[0]) % 64] += 1
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)

    async def close(self):
        """Holds nothing."""


class Away(ByTopic):
    async def embed(self, texts):
        raise ModelUnavailable("the embedding model is away")


@dataclass
class Only:
    """A catalog of one model, whatever its name."""

    embedder: object

    async def get(self, workspace_id, name):
        return self


@pytest.fixture
def search(uow):
    return KnowledgeSearch(uow, Only(ByTopic()), PgVectorStore(uow))


async def test_words_are_found_by_their_stems_and_without_their_accents(search, shared_database):
    written = write_chunks(shared_database, TEXTS)

    async def first(query):
        [hit, *_] = await search.find(written.workspace_id, SearchFor(query, mode="keyword"))
        return hit.text

    assert await first("How do travelling expenses get refunded?") == TEXTS[2]
    assert await first("cafe discounts") == TEXTS[4]
    assert await first("what did it cost to rent an office, monthly?") == TEXTS[0]


async def test_a_passage_tells_where_it_is(search, shared_database):
    written = write_chunks(shared_database, TEXTS, title="Handbook", heading="Money > Travel")

    [hit, *_] = await search.find(written.workspace_id, SearchFor("refunded", mode="keyword"))

    start, end = hit.span
    assert "\n\n".join(TEXTS)[start:end] == hit.text == TEXTS[2]
    assert (hit.title, hit.heading, hit.page) == ("Handbook", "Money > Travel", 1)
    assert (hit.base_id, hit.document_id) == (written.base_id, written.document_id)


async def test_a_title_finds_all_pieces_of_its_document(search, shared_database):
    written = write_chunks(shared_database, TEXTS[:2], title="Zanzibar memo")

    hits = await search.find(written.workspace_id, SearchFor("zanzibar", mode="keyword"))

    assert {hit.chunk_id for hit in hits} == {*written.chunk_ids}


async def test_a_rare_word_counts_more_than_a_frequent_one_however_often_that_is_there(search, shared_database):
    frequent = [f"The report on the report of team {n} is a report." for n in range(30)]
    written = write_chunks(shared_database, [*frequent, "A zeppelin was seen by the team."])

    [hit, *_] = await search.find(written.workspace_id, SearchFor("report about a zeppelin", mode="keyword"))

    assert hit.text == "A zeppelin was seen by the team."


async def test_each_language_makes_its_own_words_of_the_query(search, shared_database):
    english = write_chunks(shared_database, ["The committees met on the budgets."])
    german = write_chunks(
        shared_database,
        ["Die Ausschüsse berieten die Haushalte."],
        workspace_id=english.workspace_id,
        language="german",
    )

    async def found(query):
        return [hit.chunk_id for hit in await search.find(english.workspace_id, SearchFor(query, mode="keyword"))]

    assert await found("committee budget") == english.chunk_ids
    assert await found("Ausschuss Haushalt") == german.chunk_ids
    assert {*await found("committee or Ausschuss")} == {*english.chunk_ids, *german.chunk_ids}


@pytest.mark.parametrize("mode", ["keyword", "vector", "hybrid"])
async def test_quotes_and_a_minus_are_kept_to_in_every_mode(search, shared_database, embedded, mode):
    written = await embedded(write_chunks(shared_database, ["red wine glass", "wine red glass", "red wine bottle"]))

    async def found(query, **wanted):
        hits = await search.find(written.workspace_id, SearchFor(query, mode=mode, **wanted))
        return {hit.text for hit in hits}

    assert await found('glass "red wine"') == {"red wine glass", "red wine bottle"}
    assert await found("wine -bottle") == {"red wine glass", "wine red glass"}
    assert await found('wine -"red wine"') == {"wine red glass"}
    assert len(await found('wine -"red wine"', is_prose=True)) == 3


@pytest.fixture
def embedded(uow):
    async def embed(written):
        store, places = PgVectorStore(uow), []
        places = [Place(chunk_id, written.base_id, written.document_id) for chunk_id in written.chunk_ids]
        vectors = await ByTopic().embed(written.texts)
        await store.upsert(written.workspace_id, "local/wordllama-256", places, vectors)
        return written

    return embed


async def test_hybrid_finds_what_either_side_finds(search, shared_database, embedded):
    written = await embedded(write_chunks(shared_database, ["apple banana cherry", "zebra", "quartz"]))

    hits = await search.find(written.workspace_id, SearchFor("avocado blueberry coconut zebra", k=2))

    assert {hit.text for hit in hits} == {"apple banana cherry", "zebra"}
    assert hits[0].score >= hits[1].score > 0


async def test_without_the_embedding_model_words_are_still_found(uow, shared_database):
    written = write_chunks(shared_database, TEXTS)
    search = KnowledgeSearch(uow, Only(Away()), PgVectorStore(uow))

    [hit, *_] = await search.find(written.workspace_id, SearchFor("soup"))

    assert hit.text == TEXTS[3]
    with pytest.raises(ModelUnavailable):
        await search.find(written.workspace_id, SearchFor("soup", mode="vector"))


async def test_only_the_bases_and_documents_asked_for(search, shared_database):
    one = write_chunks(shared_database, ["soup one"])
    two = write_chunks(shared_database, ["soup two"], workspace_id=one.workspace_id)
    three = write_chunks(shared_database, ["soup three"], workspace_id=one.workspace_id, base_id=one.base_id)
    stranger = write_chunks(shared_database, ["soup of a stranger"])

    async def found(**where):
        hits = await search.find(one.workspace_id, SearchFor("soup", mode="keyword", **where))
        return {hit.text for hit in hits}

    assert await found() == {"soup one", "soup two", "soup three"}
    assert await found(base_ids=[two.base_id]) == {"soup two"}
    assert await found(document_ids=[three.document_id]) == {"soup three"}
    assert await found(base_ids=[two.base_id], document_ids=[three.document_id]) == set()
    assert await found(base_ids=[stranger.base_id]) == set()
    assert await found(document_ids=[stranger.document_id]) == set()


async def test_more_bases_than_the_index_is_asked_for_are_searched_all_the_same(search, shared_database):
    workspace_id = make_workspace(shared_database)
    bases = [
        write_chunks(shared_database, [f"soup {n}"], workspace_id=workspace_id).base_id
        for n in range(BASES_IN_INDEX + 3)
    ]

    hits = await search.find(workspace_id, SearchFor("soup", base_ids=bases[2:], k=100, mode="keyword"))

    assert {hit.base_id for hit in hits} == {*bases[2:]}


async def test_many_chunks_are_searched_by_a_sample_of_their_words(search, shared_database, monkeypatch):
    monkeypatch.setattr("app.services.knowledge.keywords.COUNTED", 100)
    monkeypatch.setattr("app.repositories.passages.SAMPLED", 200)
    written = write_chunks(shared_database, [f"soup with spoon number {n}" for n in range(600)] + ["soup with pepper"])

    async def first(query):
        [hit, *_] = await search.find(written.workspace_id, SearchFor(query, mode="keyword"))
        return hit.text

    assert await first("soup with a spoon and pepper") == "soup with pepper"
    assert await first("soup number 417") == "soup with spoon number 417"
    assert (await first("soup spoon")).startswith("soup with spoon")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.text(max_size=300) | st.text("\"'()&|!<->:*\\ ab\0", max_size=60))
async def test_no_query_fails(search, soups, query):
    hits = await search.find(soups.workspace_id, SearchFor(query, mode="keyword"))

    assert len(hits) <= 10


@pytest.fixture(scope="module")
def soups(shared_database):
    return write_chunks(shared_database, TEXTS)


async def test_the_longest_query_finds_too(search, soups):
    query = " ".join(f"word{n}" for n in range(1_000)) + " soup"

    hits = await search.find(soups.workspace_id, SearchFor("soup " + query, mode="keyword"))

    assert hits[0].text == TEXTS[3]
