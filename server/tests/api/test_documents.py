"""Documents as files, texts and URLs: added, found, replaced, tried again, given back and deleted."""

import asyncio
import os
import time
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from tests.factories.knowledge import taken_in
from tests.fixtures.deadlines import eventually
from tests.fixtures.files import pdf_of
from tests.fixtures.problems import problem
from tests.fixtures.scripted_server import PREFIX, Reply, ScriptedServer

pytestmark = pytest.mark.anyio

MEBIBYTE = 1024 * 1024
PARAGRAPHS = [
    "# Rent\n\nWe spend forty percent of the budget on rent, which the landlord raises every spring.",
    "# Coffee\n\nThe machine on the second floor has been broken since the staff party in December.",
    "# Heating\n\nThe boiler burns oil, and nobody has found a supplier of heat pumps for old houses.",
]
TEXT = "\n\n".join(PARAGRAPHS)


@pytest.fixture
def documents_of(client):
    async def look(base, **query):
        response = await client.get(f"/api/v1/knowledge/bases/{base.id}/documents", params=query)
        return response.json()["items"]

    return look


@pytest.fixture
def chunks_of(sql):
    def look(document_id):
        return sql("SELECT id, text FROM chunks WHERE document_id = %s ORDER BY ordinal", document_id)

    return look


@pytest.fixture
def site():
    with ScriptedServer() as server:
        yield server


async def found(client, base, query, mode):
    body = {"query": query, "base_ids": [base.id], "k": 3, "mode": mode}
    response = await client.post("/api/v1/knowledge/search", json=body)
    assert response.status_code == 200, response.text
    return response.json()["items"]


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
async def test_a_pdf_is_read_and_found_with_its_page(client, make_base, upload, mode):
    base = await make_base()

    document = await upload(
        base, "costs 2026.pdf", pdf_of([["The rent is forty percent."], ["The coffee machine is broken."]])
    )

    assert (document["status"], document["error"], document["source"]) == ("ready", None, "file")
    assert (document["media_type"], document["title"]) == ("application/pdf", "costs 2026")
    assert document["language"] == "en"
    assert len(document["page_starts"]) == 2
    [first, *_] = await found(client, base, "coffee machine", mode)
    assert (first["document_id"], first["page"]) == (document["id"], 2)
    assert "coffee" in document["text"][first["span"]["start"] : first["span"]["end"]]


async def test_the_same_file_is_one_document_whatever_it_is_called(client, make_base, upload, documents_of):
    base, other = await make_base(), await make_base("Other")

    first = await upload(base, "a.md", TEXT.encode())
    second = await upload(base, "b.md", TEXT.encode())
    elsewhere = await upload(other, "a.md", TEXT.encode())

    assert second["id"] == first["id"] != elsewhere["id"]
    assert len(await documents_of(base)) == 1


async def test_a_file_that_is_sent_many_times_at_once_is_one_document(make_base, upload, documents_of):
    base = await make_base()

    sent = await asyncio.gather(*(upload(base, "a.md", TEXT.encode(), wait=False) for _ in range(5)))

    assert len({one["id"] for one in sent}) == 1
    assert len(await documents_of(base)) == 1


async def test_a_document_that_is_replaced_keeps_what_says_the_same(client, make_base, make_document, chunks_of, sql):
    base = await make_base()
    long = [
        f"{text} " + " ".join(f"{word}{n}" for n in range(90)) for word, text in zip("abc", PARAGRAPHS, strict=True)
    ]
    document = await make_document("Costs", "\n\n".join(long), base=base)
    before = {text: chunk_id for chunk_id, text in chunks_of(document.id)}
    vectors = sql("SELECT chunk_id, xmin::text FROM chunk_embeddings WHERE document_id = %s", document.id)

    changed = [long[0], long[1].replace("December", "January"), long[2]]
    response = await client.put(
        f"/api/v1/knowledge/documents/{document.id}", json={"title": "Costs", "text": "\n\n".join(changed)}
    )
    ready = await taken_in(client, document.id)

    after = {text: chunk_id for chunk_id, text in chunks_of(document.id)}
    same = before.keys() & after.keys()
    assert response.status_code == 202
    assert (ready["status"], ready["text"]) == ("ready", "\n\n".join(changed))
    assert same
    assert same != set(before)
    assert all(before[text] == after[text] for text in same)
    now = sql("SELECT chunk_id, xmin::text FROM chunk_embeddings WHERE document_id = %s", document.id)
    assert {one for one, _ in now} == set(after.values())
    kept = {before[text] for text in same}
    assert {row for row in now if row[0] in kept} == {row for row in vectors if row[0] in kept}
    spans = sql("SELECT span_start, span_end, text FROM chunks WHERE document_id = %s", document.id)
    assert all(ready["text"][start:end] == text for start, end, text in spans)


async def test_a_document_cannot_become_another_of_its_base(client, make_base, make_document):
    base = await make_base()
    first, second = [await make_document(title, base=base) for title in ("First", "Second")]
    body = {"title": "First", "text": "We spend 40% on rent."}

    refused = await client.put(f"/api/v1/knowledge/documents/{second.id}", json=body)

    problem(refused, 409, "content_taken")
    assert (await client.get(f"/api/v1/knowledge/documents/{second.id}")).json()["title"] == "Second"
    assert first.id != second.id


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.pdf", pdf_of([["Secret"]])[:400], "file_damaged"),
        ("locked.pdf", pdf_of([["Secret"]], password="letmein"), "file_encrypted"),
        ("a.zip", b"PK\x03\x04" + os.urandom(200), "unsupported_file_type"),
        ("odd.txt", b"\xff\xfea\xd8b\x00", "wrong_encoding"),
        ("scan.pdf", pdf_of([[""]]), "file_has_no_text"),
        ("blank.txt", b" \n ", "file_empty"),
    ],
)
async def test_a_file_that_cannot_be_read_says_why(make_base, upload, name, data, code):
    failed = await upload(await make_base(), name, data)

    assert (failed["status"], failed["error_code"]) == ("failed", code)
    assert len(failed["error"]) > 10
    assert (failed["chunk_count"], failed["text"]) == (0, "")


async def test_an_empty_file_is_refused_at_once(client, make_base, documents_of):
    base = await make_base()

    refused = await client.post(f"/api/v1/knowledge/bases/{base.id}/documents", files={"file": ("a.txt", b"")})

    assert problem(refused, 422, "file_empty")["errors"][0]["loc"] == ["body", "file"]
    assert await documents_of(base) == []


@pytest.mark.parametrize(
    ("files", "data", "loc"),
    [
        ({"other": ("a.txt", b"x")}, {}, ["body", "other"]),
        ({"file": ("a.txt", b"x")}, {"url": "https://x.example"}, ["body", "url"]),
        ({"file": ("a.txt", b"x")}, {"title": " "}, ["body", "title"]),
        ({"file": (None, b"x")}, {}, ["body", "file"]),
    ],
)
async def test_a_form_that_makes_no_sense_is_refused(client, make_base, documents_of, files, data, loc):
    base = await make_base()

    refused = await client.post(f"/api/v1/knowledge/bases/{base.id}/documents", files=files, data=data)

    assert problem(refused, 422, "validation_failed")["errors"][0]["loc"] == loc
    assert await documents_of(base) == []


async def test_a_form_is_done_once_for_a_key_whatever_its_boundary(client, make_base):
    base = await make_base()
    address, headers = f"/api/v1/knowledge/bases/{base.id}/documents", {"Idempotency-Key": uuid4().hex}

    first = await client.post(address, files={"file": ("a.txt", b"One thing.")}, headers=headers)
    again = await client.post(address, files={"file": ("a.txt", b"One thing.")}, headers=headers)
    other = await client.post(address, files={"file": ("a.txt", b"Another.")}, headers=headers)

    assert first.request.headers["Content-Type"] != again.request.headers["Content-Type"]
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    problem(other, 422, "idempotency_mismatch")


async def test_the_file_is_given_back_as_it_came_to_be_saved_and_not_shown(client, make_base, upload):
    data = b"<html><script>alert(1)</script><p>We spend forty percent on rent.</p></html>"
    document = await upload(await make_base(), '../..\\x"; filename=evil.html', data)

    original = await client.get(f"/api/v1/knowledge/documents/{document['id']}/original")

    assert original.content == data
    assert original.headers["Content-Type"] == "application/octet-stream"
    assert original.headers["X-Content-Type-Options"] == "nosniff"
    assert original.headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''")
    assert not {'"', "/", "\\"} & set(original.headers["Content-Disposition"].partition("''")[2])


async def test_the_original_of_a_text_is_its_text(client, make_document):
    document = await make_document(text="# Ünïcode\n\n40%")

    original = await client.get(f"/api/v1/knowledge/documents/{document.id}/original")

    assert original.content.decode() == "# Ünïcode\n\n40%"


async def test_a_url_is_fetched_and_again_when_it_is_asked_for(client, make_base, site):
    base = await make_base()
    site.on("GET", "/page.html", Reply(b"<title>Costs</title><p>The rent is high.</p>"))
    site.on("GET", "/page.html", Reply(b"<title>Costs</title><p>The coffee is cold.</p>"))
    body = {"url": site.url + PREFIX + "/page.html"}

    added = await client.post(f"/api/v1/knowledge/bases/{base.id}/documents", json=body)
    first = await taken_in(client, added.json()["id"])
    refreshed = await client.post(f"/api/v1/knowledge/documents/{first['id']}/refresh")
    second = await taken_in(client, first["id"])

    assert (added.status_code, refreshed.status_code) == (202, 202)
    assert (first["status"], first["title"], first["source"]) == ("ready", "Costs", "url")
    assert "rent is high" in first["text"]
    assert "coffee is cold" in second["text"]
    assert (second["status"], second["id"]) == ("ready", first["id"])


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/x", "http://localhost/x", "http://169.254.169.254/latest", "http://[::1]/"]
)
async def test_a_url_to_a_private_address_is_refused(client, make_base, documents_of, url):
    base = await make_base()

    refused = await client.post(f"/api/v1/knowledge/bases/{base.id}/documents", json={"url": url})

    problem(refused, 422, "forbidden_address")
    assert await documents_of(base) == []


async def test_a_url_that_leads_to_a_private_address_fails(client, make_base, site):
    base = await make_base()
    site.on("GET", "/doc", Reply(status=302, headers={"Location": "http://10.0.0.1/"}))

    added = await client.post(f"/api/v1/knowledge/bases/{base.id}/documents", json={"url": site.url + PREFIX + "/doc"})

    failed = await taken_in(client, added.json()["id"])
    assert (failed["status"], failed["error_code"]) == ("failed", "forbidden_address")


async def test_what_failed_is_tried_again_when_it_is_handed_in_again(client, make_base, site, documents_of):
    base = await make_base()
    site.on("GET", "/doc.txt", Reply(status=404))
    site.on("GET", "/doc.txt", Reply(b"We spend forty percent on rent."))
    body, address = {"url": site.url + PREFIX + "/doc.txt"}, f"/api/v1/knowledge/bases/{base.id}/documents"

    failed = await taken_in(client, (await client.post(address, json=body)).json()["id"])
    ready = await taken_in(client, (await client.post(address, json=body)).json()["id"])

    assert (failed["status"], failed["error_code"]) == ("failed", "url_not_fetchable")
    assert (ready["status"], ready["id"], ready["error"]) == ("ready", failed["id"], None)
    assert len(await documents_of(base)) == 1


async def test_lists_are_narrowed_by_status_and_name(make_base, upload, documents_of):
    base = await make_base()
    good = await upload(base, "Costs.txt", b"The rent is forty percent.")
    bad = await upload(base, "Broken.pdf", b"%PDF-1.4 nothing")

    assert [one["id"] for one in await documents_of(base, status="ready")] == [good["id"]]
    assert [one["id"] for one in await documents_of(base, status="failed")] == [bad["id"]]
    assert [one["id"] for one in await documents_of(base, q="cost")] == [good["id"]]
    assert await documents_of(base, q="100%") == []


async def test_a_discussion_is_not_opened_on_what_cannot_be_read(client, make_base, upload, make_agent):
    bad = await upload(await make_base(), "Broken.pdf", b"%PDF-1.4 nothing")
    body = {"topic": "Why?", "participants": [{"agent_id": (await make_agent()).id}], "document_ids": [bad["id"]]}

    problem(await client.post("/api/v1/discussions", json=body), 409, "document_unusable")


async def test_a_deleted_document_leaves_nothing(client, make_base, upload, sql, owner):
    document = await upload(await make_base(), "a.txt", b"The rent is forty percent.")
    parts = "SELECT count(*) FROM original_parts WHERE workspace_id = %s"
    assert sql(parts, owner.workspace_id) == [(1,)]

    await client.delete(f"/api/v1/knowledge/documents/{document['id']}")

    await eventually(lambda: sql(parts, owner.workspace_id) == [(0,)], 10, "the clearing of the file")
    for table in ("chunks", "chunk_embeddings"):
        assert sql(f"SELECT count(*) FROM {table} WHERE workspace_id = %s", owner.workspace_id) == [(0,)]


async def test_a_base_changes_its_embedding_model_while_the_old_one_serves(client, make_base, make_document, sql):
    base = await make_base()
    document = await make_document("Costs", TEXT, base=base)
    models = "SELECT DISTINCT model FROM chunk_embeddings WHERE base_id = %s"

    changed = (
        await client.patch(f"/api/v1/knowledge/bases/{base.id}", json={"embedding_model": "local/wordllama-64"})
    ).json()

    async def is_done():
        now = (await client.get(f"/api/v1/knowledge/bases/{base.id}")).json()
        assert await found(client, base, "the broken coffee machine", "vector")
        return now["embedding_model"] == "local/wordllama-64" and now["next_embedding_model"] is None

    assert (changed["embedding_model"], changed["next_embedding_model"]) == (
        "local/wordllama-256",
        "local/wordllama-64",
    )
    await eventually(is_done, 20, "the change of the model")
    await eventually(lambda: sql(models, base.id) == [("local/wordllama-64",)], 10, "the end of the old vectors")
    [first, *_] = await found(client, base, "the broken coffee machine", "vector")
    assert (first["document_id"], "coffee" in first["text"].lower()) == (document.id, True)


async def test_an_embedding_model_that_there_is_not_is_refused(client, make_base):
    base = await make_base()
    body = {"embedding_model": "local/none"}

    refused = await client.patch(f"/api/v1/knowledge/bases/{base.id}", json=body)

    assert problem(refused, 422, "unknown_model")["errors"][0]["loc"] == ["body", "embedding_model"]
    problem(await client.post("/api/v1/knowledge/bases", json={"name": "New", **body}), 422, "unknown_model")


async def test_a_base_that_is_embedded_by_a_model_that_fails_stays_with_the_old_one(
    client, make_base, make_document, sql
):
    base = await make_base()
    await make_document("Costs", TEXT, base=base)

    await client.patch(f"/api/v1/knowledge/bases/{base.id}", json={"embedding_model": "openai/refuses?status=401"})

    async def has_failed():
        return (await client.get(f"/api/v1/knowledge/bases/{base.id}")).json()["embedding_error"]

    assert await eventually(has_failed, 20, "the failure")
    now = (await client.get(f"/api/v1/knowledge/bases/{base.id}")).json()
    assert (now["embedding_model"], now["next_embedding_model"]) == ("local/wordllama-256", None)
    assert await found(client, base, "the broken coffee machine", "vector")


async def test_others_are_answered_while_bombs_are_sent(client, owner, make_base, arena):
    """A gigabyte that is announced, one that is not, and files that take all they may to be read."""
    base = await make_base()
    address = f"{arena.url}/api/v1/knowledge/bases/{base.id}/documents"
    headers = {"Authorization": client.headers["Authorization"], "Content-Type": "application/octet-stream"}

    async def mebibytes(count):
        for _ in range(count):
            await asyncio.sleep(0)
            yield bytes(MEBIBYTE)

    async def send(**how):
        async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
            try:
                return (await http.post(address, **how)).status_code
            except httpx2.TransportError:
                return 413  # closed before all of it was sent

    nested = b"<div>" * 200_000 + b"deep"
    bombs = [
        asyncio.create_task(send(content=mebibytes(256), headers=headers)),
        asyncio.create_task(send(content=mebibytes(1024), headers={**headers, "Content-Length": str(1024**3)})),
        asyncio.create_task(client.post(address, files={"file": ("deep.html", nested)})),
        asyncio.create_task(client.post(address, files={"file": ("dense.bin", b"[{," * 5_000_000)})),
    ]
    slowest, before, most = 0.0, _resident_bytes(), 0
    while not all(bomb.done() for bomb in bombs):
        began = time.monotonic()
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/api/v1/knowledge/bases")).status_code == 200
        slowest, most = max(slowest, time.monotonic() - began), max(most, _resident_bytes())
        await asyncio.sleep(0.05)

    assert [bomb.result() for bomb in bombs[:2]] == [413, 413]
    assert [bomb.result().status_code for bomb in bombs[2:]] == [202, 202]
    assert slowest < 5
    assert most - before < 256 * MEBIBYTE


def _resident_bytes() -> int:
    """Of this process, which is the API and its clients."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0
