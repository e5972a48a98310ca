"""Agents whose messages have a form: held to it, mended once, and shown as what they are."""

import json
from urllib.parse import quote

import pytest

from tests.fixtures.viewer import watch_to_the_end

pytestmark = pytest.mark.anyio

SCHEMA = {
    "type": "object",
    "properties": {"vote": {"enum": ["yes", "no"]}},
    "required": ["vote"],
    "additionalProperties": False,
}


@pytest.fixture
def make_talk(make_agent, make_discussion):
    async def make(model, *, turns=1, limits=None, **agent):
        speaker = await make_agent(
            model=model.name, **{"response_schema": SCHEMA, "params": {"max_tokens": 60}, **agent}
        )
        return await make_discussion(agents=[speaker], limits=limits or {"max_turns": turns})

    return make


async def messages_of(client, talk):
    return (await client.get(f"/api/v1/discussions/{talk.id}/messages")).json()["items"]


@pytest.mark.parametrize("said", ['{"vote": "yes"}', 'So be it:\n```json\n{"vote": "yes"}\n```'])
async def test_a_message_that_fits_is_parsed(client, make_model, make_talk, said):
    model = make_model(f"reply={quote(said)}")

    talk = await make_talk(model)
    viewer = await watch_to_the_end(client, talk.id)

    [message] = await messages_of(client, talk)
    assert (message["parsed"], message["content"]) == ({"vote": "yes"}, said)
    assert viewer.of_type("message.completed")[0].data == message
    assert model.requests[0].body["response_format"]["json_schema"]["schema"] == SCHEMA


async def test_one_that_does_not_fit_is_mended_once_in_sight_of_the_viewers(client, make_model, make_talk):
    model = make_model("reply=Maybe.")

    talk = await make_talk(model)
    viewer = await watch_to_the_end(client, talk.id)

    [retried] = viewer.of_type("turn.retried")
    assert (retried.data["reason"], retried.data["attempt"]) == ("does_not_fit_schema", 2)
    [message] = await messages_of(client, talk)
    assert (message["parsed"], message["content"], message["attempt"]) == (None, "Maybe.", 2)
    first, second = model.prompts
    assert [one["role"] for one in second[len(first) :]] == ["assistant", "user"]
    assert "Maybe." in second[-2]["content"]
    read = (await client.get(f"/api/v1/discussions/{talk.id}")).json()
    spent = retried.data["usage"]["prompt_tokens"] + message["usage"]["prompt_tokens"]
    assert read["usage"]["prompt_tokens"] == spent


async def test_the_next_turn_begins_without_the_last_ones_faults(client, make_model, make_talk):
    model = make_model("reply=Maybe.")

    talk = await make_talk(model, turns=2)
    await watch_to_the_end(client, talk.id)

    assert ["does not fit" in prompt[-1]["content"] for prompt in model.prompts] == [False, True, False, True]


async def test_a_model_that_takes_no_schema_is_told_of_it_in_words(client, make_model, make_talk):
    model = make_model(f"reject_format&reply={quote(json.dumps({'vote': 'no'}))}")

    talk = await make_talk(model, turns=2)
    await watch_to_the_end(client, talk.id)

    assert [message["parsed"] for message in await messages_of(client, talk)] == [{"vote": "no"}] * 2
    assert ["response_format" in request.body for request in model.requests] == [True, False, False]
    assert "JSON Schema" in model.prompts[1][0]["content"]


async def test_a_schema_that_a_model_refuses_takes_other_schemas_from_nobody(client, make_model, make_talk):
    model = make_model(f"reject_format&reply={quote(json.dumps({'vote': 'no'}))}")

    for schema in [SCHEMA, {**SCHEMA, "title": "another"}, SCHEMA]:
        talk = await make_talk(model, response_schema=schema)
        await watch_to_the_end(client, talk.id)

    assert ["response_format" in request.body for request in model.requests] == [True, False, True, False, False]


async def test_a_model_that_refuses_schema_and_tools_is_asked_without_both(client, make_model, make_talk):
    model = make_model(f"reject_format&reject_tools&reply={quote(json.dumps({'vote': 'no'}))}")

    talk = await make_talk(model, tools=["calculator"])
    await watch_to_the_end(client, talk.id)

    [message] = await messages_of(client, talk)
    assert message["parsed"] == {"vote": "no"}
    assert not {"tools", "response_format"} & set(model.requests[-1].body)


async def test_where_limits_have_no_room_to_mend_the_message_stands(client, make_model, make_talk):
    talk = await make_talk(make_model("reply=Maybe."), limits={"max_tokens": 620})
    viewer = await watch_to_the_end(client, talk.id)

    assert viewer.of_type("turn.failed") == []
    read = (await client.get(f"/api/v1/discussions/{talk.id}")).json()
    assert read["usage"]["prompt_tokens"] + read["usage"]["completion_tokens"] <= 620
