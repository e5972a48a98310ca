"""Lists: every page once, in order, whatever happens meanwhile, at a constant cost."""

import pytest

from app.domain.discussion import Status
from tests.factories.agents import agent_body
from tests.factories.knowledge import extracted
from tests.fixtures.problems import problem

pytestmark = pytest.mark.anyio


async def pages(client, address, limit, **query):
    """All pages, each checked to be as large as asked but the last."""
    found, cursor = [], None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = (await client.get(address, params={"limit": limit, **query, **more})).json()
        found.append(page["items"])
        cursor = page["next_cursor"]
        if cursor is None:
            return found
        assert len(page["items"]) == limit


@pytest.fixture
async def filled(client, make_agent, make_base, make_document, make_discussion, make_provider, make_tool_server):
    """Fill one kind of list with a number of things; the list's address, and the ids in the order they were made."""
    base = await make_base("Memos")
    agent = await make_agent()
    draft = await make_discussion(status=Status.DRAFT, agents=[agent])

    async def fill(kind, count):
        match kind:
            case "agents":
                made = [await make_agent(f"Agent {number}") for number in range(count - 1)]
                return "/api/v1/agents", [agent.id, *(one.id for one in made)]
            case "versions":
                address = f"/api/v1/agents/{agent.id}"
                for number in range(count - 1):
                    await client.patch(address, json={"name": f"Name {number}"})
                return f"{address}/versions", list(range(1, count + 1))
            case "discussions":
                made = [await make_discussion(status=Status.DRAFT, agents=[agent]) for _ in range(count - 1)]
                return "/api/v1/discussions", [draft.id, *(one.id for one in made)]
            case "bases":
                made = [await make_base(f"Base {number} of {count}") for number in range(count - 1)]
                return "/api/v1/knowledge/bases", [base.id, *(one.id for one in made)]
            case "documents":
                made = [await make_document(f"Memo {number}", base=base) for number in range(count)]
                return f"/api/v1/knowledge/bases/{base.id}/documents", [one.id for one in made]
            case "memories":
                address = f"/api/v1/agents/{agent.id}/memories"
                made = [await client.post(address, json={"content": f"Fact {number}"}) for number in range(count)]
                return address, [one.json()["id"] for one in made]
            case "extractions":
                document = await make_document("Extracted", base=base)
                address = f"/api/v1/knowledge/documents/{document.id}"
                body = {"schema": {"type": "object"}, "model": "openai/fake?status=400"}
                made = [(await client.post(f"{address}/extract", json=body)).json()["id"] for _ in range(count)]
                for one in made:
                    await extracted(client, one)
                return f"{address}/extractions", made
            case "providers":
                made = [await make_provider(f"Provider {number} of {count}") for number in range(count)]
                return "/api/v1/ai/providers", [one["id"] for one in made]
            case "tool servers":
                made = [await make_tool_server(f"server-{number}-of-{count}") for number in range(count)]
                return "/api/v1/ai/tool-servers", [one["id"] for one in made]
            case _:
                address = f"/api/v1/discussions/{draft.id}/messages"
                made = [await client.post(address, json={"content": str(number)}) for number in range(count)]
                return address, [one.json()["message"]["id"] for one in made]

    return fill


KINDS = [
    *("agents", "versions", "discussions", "bases", "documents", "extractions", "memories", "providers"),
    *("tool servers", "messages"),
]


def key(kind):
    return "version" if kind == "versions" else "id"


@pytest.mark.parametrize("kind", KINDS)
async def test_all_pages_together_are_everything_once(client, filled, kind):
    address, made = await filled(kind, 7)

    for limit in (1, 3, 7, 50):
        listed = [one[key(kind)] for page in await pages(client, address, limit) for one in page]
        assert listed == (made if kind == "messages" else made[::-1])


async def test_messages_page_backwards_too(client, filled):
    address, made = await filled("messages", 7)

    listed = [one["id"] for page in await pages(client, address, 3, order="desc") for one in page]

    assert listed == made[::-1]


async def test_what_is_made_meanwhile_does_not_shift_the_pages(client, filled, make_agent):
    address, made = await filled("agents", 5)
    first = (await client.get(address, params={"limit": 2})).json()

    await make_agent("Late")
    rest = (await client.get(address, params={"limit": 50, "cursor": first["next_cursor"]})).json()

    assert [one["id"] for one in first["items"] + rest["items"]] == made[::-1]


async def test_a_page_goes_on_after_its_last_item_was_deleted(client, filled):
    address, made = await filled("agents", 4)
    first = (await client.get(address, params={"limit": 2})).json()
    await client.delete(f"/api/v1/agents/{first['items'][-1]['id']}")

    rest = (await client.get(address, params={"cursor": first["next_cursor"]})).json()

    assert [one["id"] for one in rest["items"]] == made[1::-1]


async def test_filters_hold_on_every_page(client, make_agent):
    for number in range(6):
        await make_agent(f"{'Even' if number % 2 == 0 else 'Odd'} {number}")

    found = await pages(client, "/api/v1/agents", 2, q="odd")

    assert [agent["name"] for page in found for agent in page] == ["Odd 5", "Odd 3", "Odd 1"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "agents"])
async def test_a_cursor_of_another_list_is_refused(client, filled, kind):
    await filled("agents", 3)
    foreign = (await client.get("/api/v1/agents", params={"limit": 1})).json()["next_cursor"]
    address, _ = await filled(kind, 2)

    fault = problem(await client.get(address, params={"cursor": foreign}), 422, "bad_cursor")["errors"][0]
    assert (fault["loc"], fault["type"]) == (["query", "cursor"], "bad_cursor")


async def test_a_cursor_of_the_other_order_is_refused(client, filled):
    address, _ = await filled("messages", 3)
    oldest_first = (await client.get(address, params={"limit": 1})).json()["next_cursor"]

    problem(await client.get(address, params={"cursor": oldest_first, "order": "desc"}), 422, "bad_cursor")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_list_costs_the_same_number_of_queries_however_long(client, queries, filled, kind):
    address, _ = await filled(kind, 2)
    short = await cost_of(client, queries, address)
    await filled(kind, 12)

    assert len((await client.get(address)).json()["items"]) >= 11
    assert 0 < await cost_of(client, queries, address) == short <= 6


async def cost_of(client, queries, address):
    """Of several reads the cheapest: who is calling need not be asked of the database every time.

    Each of another page, since one that was read before is not written again.
    """
    return min([queries.of(await client.get(address, params={"limit": limit})) for limit in (100, 101, 102)])


async def test_the_query_counter_counts(client, queries):
    response = await client.post("/api/v1/agents", json=agent_body())

    assert queries.of(response) > queries.of(await client.get("/healthz")) == 0
