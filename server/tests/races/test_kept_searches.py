"""A search that was kept is never older than what was acknowledged before it was asked for; nor is a list."""

import asyncio
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

from app.config import RedisSettings
from app.core.cache import make_cache
from app.core.metrics import CACHE_REQUESTS
from app.domain.kinds import Kind
from app.services.kept_answers import KeptAnswers, Passing, ResourceStamps

pytestmark = pytest.mark.anyio

READERS, ROUNDS = 4, 4


@pytest.fixture
async def base(make_base):
    return await make_base("Memos")


@pytest.fixture
def reads(client, base):
    """The same search, and the same list, over and over: the ids of the documents in each."""

    async def searched():
        body = {"query": "harbour dues", "base_ids": [base.id], "k": 100, "mode": "keyword"}
        found = await client.post("/api/v1/knowledge/search", json=body)
        return {passage["document_id"] for passage in found.raise_for_status().json()["items"]}

    async def listed():
        found = await client.get(f"/api/v1/knowledge/bases/{base.id}/documents", params={"status": "ready"})
        return {document["id"] for document in found.raise_for_status().json()["items"]}

    return searched, listed


@asynccontextmanager
async def others_reading(reads):
    """So that at each moment somebody has just begun to keep an answer."""
    is_over = asyncio.Event()

    async def read(number):
        while not is_over.is_set():
            await reads[number % 2]()

    readers = [asyncio.create_task(read(number)) for number in range(READERS)]
    try:
        yield
    finally:
        is_over.set()
        await asyncio.gather(*readers)


async def test_no_search_is_older_than_what_was_acknowledged_before_it(client, base, make_document, reads):
    searched, listed = reads
    async with others_reading(reads):
        for number in range(ROUNDS):
            made = await make_document(f"Dues {number}", base=base, text=f"The harbour dues of {number} are due.")
            assert made.id in await searched()
            assert made.id in await listed()
            (await client.delete(f"/api/v1/knowledge/documents/{made.id}")).raise_for_status()
            assert made.id not in await searched()
            assert made.id not in await listed()


async def test_what_is_searched_again_comes_from_valkey(client, base, make_document, reads):
    await make_document("Dues", base=base, text="The harbour dues are due.")
    searched, _ = reads
    first, before = await searched(), CACHE_REQUESTS.labels("search", "hit")._value.get()

    assert await searched() == first
    assert CACHE_REQUESTS.labels("search", "hit")._value.get() == before + 1


@pytest.mark.parametrize(("answer", "made"), [(b"{}", 1), (Passing(b"{}"), 2)])
async def test_an_answer_that_may_soon_be_a_better_one_is_made_anew(uow, valkey_url, owner, answer, made):
    """Such as that of a search whose vectors could not be asked for."""
    cache = make_cache(RedisSettings(redis_url=valkey_url))
    stamps = ResourceStamps(uow)
    kept, calls = KeptAnswers(cache, stamps), []

    async def make():
        calls.append(answer)
        return answer

    asked = str(uuid4())
    answers = [await kept.get("search", (UUID(owner.workspace_id), Kind.PASSAGES), asked, make) for _ in range(2)]
    await stamps.close()
    await cache.aclose()

    assert (answers, len(calls)) == ([b"{}", b"{}"], made)
