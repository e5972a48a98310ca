"""Structured answers: read leniently, held against the schema, mended once."""

import orjson
import pytest

from app.core.json_schema import compile_schema
from app.domain.prompt import ChatMessage
from app.services.model import Model
from app.services.providers.base import ChatRequest, Finished, ModelRejected, ModelUnavailable, TextDelta
from app.services.structured import AnswerUnfit, ask_structured, read_answer

pytestmark = pytest.mark.anyio

SCHEMA = compile_schema({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})


class ScriptedModel:
    """A provider at the edge: says one text after another, each of which took ten tokens and two."""

    def __init__(self, *replies, takes_schemas=True):
        self.replies = list(replies)
        self.takes_schemas = takes_schemas
        self.asked = []

    async def stream(self, request):
        self.asked.append(request)
        if request.response_schema is not None and not self.takes_schemas:
            raise ModelRejected("no schemas here")
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        yield TextDelta(reply)
        yield Finished("stop", 10, 2)

    async def close(self):
        pass


async def asked(client, model=None):
    model = model or Model("own/x", client, "x", 4096, None)
    request = ChatRequest("x", [ChatMessage("system", "You count."), ChatMessage("user", "How many?")])
    return await ask_structured(model, request, SCHEMA)


async def test_a_model_is_given_the_schema_and_its_answer_is_the_value():
    client = ScriptedModel('{"n": 3}')

    answer = await asked(client)

    assert (answer.value, answer.text) == ({"n": 3}, '{"n": 3}')
    assert (answer.prompt_tokens, answer.completion_tokens) == (10, 2)
    assert client.asked[0].response_schema == SCHEMA.document


async def test_a_model_that_takes_no_schema_is_told_of_it_in_words_and_then_at_once():
    client = ScriptedModel("three", '{"n": 3}', '{"n": 4}', takes_schemas=False)
    model = Model("own/x", client, "x", 4096, None)

    first, second = await asked(client, model), await asked(client, model)

    assert (first.value, second.value) == ({"n": 3}, {"n": 4})
    assert len(client.asked) == 4
    told = client.asked[-1]
    assert told.response_schema is None
    assert told.messages[0].role == "system"
    assert orjson.dumps(SCHEMA.document).decode() in told.messages[0].content
    assert told.messages[0].content.startswith("You count.")


async def test_an_answer_that_does_not_fit_is_mended_once_with_its_faults():
    client = ScriptedModel('{"n": "three"}', '{"n": 3}')

    answer = await asked(client)

    assert answer.value == {"n": 3}
    assert (answer.prompt_tokens, answer.completion_tokens) == (20, 4)
    *_, shown, wish = client.asked[1].messages
    assert (shown.role, shown.content) == ("assistant", '{"n": "three"}')
    assert '/n: "three" is not of type "integer"' in wish.content


async def test_an_answer_that_never_fits_says_why_and_what_it_took():
    with pytest.raises(AnswerUnfit, match=r'"three" is not of type "integer"') as caught:
        await asked(ScriptedModel("none", '{"n": "three"}'))

    assert (caught.value.used.prompt_tokens, caught.value.text) == (20, '{"n": "three"}')


async def test_a_call_that_fails_says_what_those_before_it_took():
    with pytest.raises(ModelUnavailable) as caught:
        await asked(ScriptedModel("none", ModelUnavailable("away")))

    assert caught.value.used.prompt_tokens == 10


@pytest.mark.parametrize(
    "text",
    [
        *('{"n": 3}', ' \n{"n": 3}\n', '```json\n{"n": 3}\n```', '```\n{"n": 3}\n```', 'Here: {"n": 3}. Well?'),
        *('Sure!\n```JSON\n{"n": 3}\n```\nDone {x}', 'a [b] {"n": 3}'),
    ],
)
def test_json_is_found_where_models_put_it(text):
    assert read_answer(text, SCHEMA) == ({"n": 3}, [])


@pytest.mark.parametrize("text", ["", "three", "{", "{'n': 3}", '{"n": NaN}', "[" * 100_000, '{"n": "\\ud800"}'])
def test_what_is_no_json_is_a_fault(text):
    value, faults = read_answer(text, SCHEMA)

    assert value is None
    assert faults == ["/: the answer is no JSON"]


def test_nothing_in_a_value_keeps_it_from_being_stored():
    assert read_answer('{"n": 3, "a\\u0000": ["b\\u0000"]}', SCHEMA)[0] == {"n": 3, "a": ["b"]}
