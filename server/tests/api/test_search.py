"""Searching in knowledge, as callers do."""

from urllib.parse import quote
from uuid import UUID

import pytest

from tests.factories.corpora import write_chunks

pytestmark = pytest.mark.anyio

SEARCH = "/api/v1/knowledge/search"
TEXTS = (
    "Rents rose by 4%. The café pays its rent late.",
    "Travelling staff are refunded within a fortnight.",
    "Nobody eats the soup of the canteen.",
)


def saying(text):
    return f"reply={quote(text)}"


@pytest.fixture
def handbook(owner, shared_database):
    """Three pieces of a document."""
    return write_chunks(shared_database, TEXTS, workspace_id=UUID(owner.workspace_id), title="Handbook")


async def test_a_passage_is_found_with_its_place_and_what_to_highlight(owner, handbook):
    response = await owner.http.post(SEARCH, json={"query": "cafe rents", "base_ids": [str(handbook.base_id)]})

    assert response.status_code == 200, response.text
    [hit] = response.json()["items"]
    assert hit["chunk_id"] == str(handbook.chunk_ids[0])
    assert hit["document_id"] == str(handbook.document_id)
    assert (hit["title"], hit["text"], hit["page"], hit["heading"]) == ("Handbook", TEXTS[0], 1, None)
    assert "\n\n".join(TEXTS)[hit["span"]["start"] : hit["span"]["end"]] == TEXTS[0]
    assert [TEXTS[0][place["start"] : place["end"]] for place in hit["highlights"]] == ["Rents", "café", "rent"]
    assert hit["score"] > 0


async def test_the_pieces_of_a_document_are_listed_in_their_order(owner, handbook):
    address = f"/api/v1/knowledge/documents/{handbook.document_id}/chunks"

    first = (await owner.http.get(address, params={"limit": 2})).json()
    rest = (await owner.http.get(address, params={"limit": 2, "cursor": first["next_cursor"]})).json()

    assert [item["text"] for item in first["items"] + rest["items"]] == [*TEXTS]
    assert rest["next_cursor"] is None


async def test_bases_and_documents_of_others_are_unknown(owner, make_user, handbook):
    other = await make_user("Mallory")

    for body in ({"base_ids": [str(handbook.base_id)]}, {"document_ids": [str(handbook.document_id)]}):
        response = await other.http.post(SEARCH, json={"query": "rent", **body})
        assert response.status_code == 404
    everything = await other.http.post(SEARCH, json={"query": "rent"})
    assert everything.json()["items"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        *({"k": k} for k in (0, -1, 101, 10_000, "ten", 1.5, None)),
        *({"query": query} for query in ("", " \n", "a" * 2_001, "\0", None, 7)),
        *({"mode": mode} for mode in ("fuzzy", None)),
        {"base_ids": ["no id"]},
        {"base_ids": None},
        {"limit": 5},
    ],
    ids=str,
)
async def test_a_search_that_makes_no_sense_is_refused(owner, wrong):
    response = await owner.http.post(SEARCH, json={"query": "rent", **wrong})

    assert response.status_code == 422
    assert {fault["loc"][1] for fault in response.json()["errors"]} == {*wrong}


@pytest.mark.parametrize("query", ['"', "-", '"" -', "& | ! <-> :*", "\\", "the of and", "'; DROP TABLE chunks", "🦆"])
async def test_whatever_is_asked_is_data(owner, handbook, query):
    response = await owner.http.post(SEARCH, json={"query": query})

    assert response.status_code == 200


@pytest.fixture
def about_soup(owner, shared_database):
    texts = ["Soup, soup and more soup.", "Soup with pepper.", "The soup of the day is on the board."]
    return write_chunks(shared_database, texts, workspace_id=UUID(owner.workspace_id))


async def ranked_by(model, owner, written, k=10):
    body = {"query": "which soup is there today?", "base_ids": [str(written.base_id)], "k": k}
    plain = (await owner.http.post(SEARCH, json=body)).json()
    response = await owner.http.post(SEARCH, json={**body, "rerank_model": model.name})
    assert response.status_code == 200, response.text
    return [item["text"] for item in plain["items"]], response.json()


async def test_a_model_ranks_what_was_found_anew(owner, about_soup, make_model):
    model = make_model(saying('{"best_first": [3, 99, 3, 1]}'))

    before, after = await ranked_by(model, owner, about_soup, k=2)

    _, _, third = (await ranked_by(model, owner, about_soup))[0]
    assert [item["text"] for item in after["items"]] == [third, before[0]]
    assert after["reranked"]
    assert after["items"][0]["score"] > after["items"][1]["score"]
    [_, asked] = model.prompts[0]
    assert "which soup is there today?" in asked["content"]


FAILURES = {"500": "fail_times=9&status=500", "401": "fail_times=9&status=401", "prose": saying("I like soup.")}


@pytest.mark.parametrize("behaviour", FAILURES.values(), ids=FAILURES)
async def test_where_the_model_fails_the_order_stays_and_it_is_said(owner, about_soup, make_model, behaviour):
    before, after = await ranked_by(make_model(behaviour), owner, about_soup)

    assert [item["text"] for item in after["items"]] == before
    assert not after["reranked"]


async def test_an_unknown_model_cannot_rank(owner, about_soup):
    response = await owner.http.post(SEARCH, json={"query": "soup", "rerank_model": "nobody/none"})

    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", "rerank_model"]
