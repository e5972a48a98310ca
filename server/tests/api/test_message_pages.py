"""Pages of messages are written by the database, to the letter as the rest of the product says what a message is."""

import pytest

from app.schemas.base import Page
from app.schemas.message import MessageRead
from tests.fixtures.viewer import watch_to_the_end

pytestmark = pytest.mark.anyio

HARD = 'quotes " and \\ slashes / \t tabs \r\n breaks \x01 control, ünïcödé, 你好, 🙂, \u2028 and </script>'


async def messages_of(http, discussion, **asked):
    response = await http.get(f"/api/v1/discussions/{discussion.id}/messages", params=asked)
    assert response.status_code == 200
    return response.json()


async def events_of(http, discussion):
    response = await http.get(f"/api/v1/discussions/{discussion.id}/events", headers={"Accept": "application/json"})
    return [event["data"] for event in response.json()["items"] if event["type"] == "message.completed"]


async def test_a_page_says_of_each_message_what_the_log_says(client, make_discussion, make_agent):
    made = await make_discussion(agents=[await make_agent()], limits={"max_turns": 3})
    await watch_to_the_end(client, made.id)
    talk = await make_discussion(start=False)
    said = await client.post(f"/api/v1/discussions/{talk.id}/messages", json={"content": HARD})
    assert said.status_code == 201, said.text
    own = said.json()["message"]
    await client.post(
        f"/api/v1/discussions/{talk.id}/messages",
        json={"content": "Between us.", "reply_to": own["id"], "visible_to": [own["participant_id"]]},
    )

    for discussion, count in ((made, 3), (talk, 2)):
        page = await messages_of(client, discussion)

        assert page["items"] == await events_of(client, discussion)
        assert len(page["items"]) == count
        assert page["next_cursor"] is None
        assert Page[MessageRead].model_validate(page).model_dump(mode="json") == page
    assert [item["content"] for item in (await messages_of(client, talk))["items"]] == [HARD, "Between us."]


async def test_a_page_asks_the_database_once(client, make_discussion, queries):
    made = await make_discussion(start=False)
    for number in range(3):
        await client.post(f"/api/v1/discussions/{made.id}/messages", json={"content": f"Word {number}"})
    await client.get("/api/v1/auth/me")

    response = await client.get(f"/api/v1/discussions/{made.id}/messages")

    assert len(response.json()["items"]) == 3
    assert queries.of(response) == 1


async def test_pages_follow_each_other_to_the_last_in_both_orders(client, make_discussion):
    made = await make_discussion(start=False)
    for number in range(7):
        await client.post(f"/api/v1/discussions/{made.id}/messages", json={"content": f"Word {number}"})

    for order, wanted in (("asc", range(7)), ("desc", range(6, -1, -1))):
        seen, cursor, sizes = [], None, []
        while cursor is not None or not sizes:
            page = await messages_of(client, made, limit=3, order=order, **({"cursor": cursor} if cursor else {}))
            seen += [item["content"] for item in page["items"]]
            sizes.append(len(page["items"]))
            cursor = page["next_cursor"]
        assert seen == [f"Word {number}" for number in wanted]
        assert sizes == [3, 3, 1]


async def test_a_full_last_page_has_no_other_behind_it_and_an_empty_one_is_none(client, make_discussion):
    made = await make_discussion(start=False)
    assert await messages_of(client, made) == {"items": [], "next_cursor": None}
    for number in range(2):
        await client.post(f"/api/v1/discussions/{made.id}/messages", json={"content": f"Word {number}"})

    assert (await messages_of(client, made, limit=2))["next_cursor"] is None
