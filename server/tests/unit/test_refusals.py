"""What models were seen to refuse is remembered as it was asked, for a while, and not without bound."""

from app.services.providers.base import ToolSpec
from app.services.refusals import KEPT_SECONDS, MOST_KEPT, Refusals

ADD, LOOK = (ToolSpec(name, "Does it.", {"type": "object"}) for name in ("add", "look"))


def test_a_refusal_is_of_one_model_and_one_value():
    refusals = Refusals()
    refusals.note("big", "tools", (ADD,))

    assert refusals.has("big", "tools", [ADD])
    assert not refusals.has("small", "tools", [ADD])
    assert not refusals.has("big", "tools", [ADD, LOOK])
    assert not refusals.has("big", "response_schema", [ADD])


def test_a_refusal_is_forgotten_after_a_while():
    now = [0.0]
    refusals = Refusals(lambda: now[0])
    refusals.note("big", "temperature", 0.5)

    now[0] = KEPT_SECONDS - 1
    assert refusals.has("big", "temperature", 0.5)
    now[0] = KEPT_SECONDS + 1
    assert not refusals.has("big", "temperature", 0.5)


def test_of_too_many_refusals_the_oldest_are_forgotten():
    refusals = Refusals()
    for number in range(MOST_KEPT + 1):
        refusals.note("big", "response_schema", {"const": number})

    known = [refusals.has("big", "response_schema", {"const": number}) for number in range(MOST_KEPT + 1)]
    assert known == [False] + [True] * MOST_KEPT
