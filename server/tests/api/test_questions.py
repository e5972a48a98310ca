"""What moderators are asked when their models hang, fail, refuse or ramble."""

from urllib.parse import quote

import pytest

from tests.factories.discussions import seats
from tests.fixtures.reads import read
from tests.fixtures.viewer import watch_to_the_end

pytestmark = pytest.mark.anyio

CHOOSES = "reply=" + quote('{"next": "cyd"}')
CHOSEN, LOST = "moderator: chosen by @mod", "moderator fallback: no usable answer, longest waiting"


@pytest.fixture
def moderated(make_place, make_user, make_agent, make_model, make_discussion):
    """The viewer of a discussion that a moderator with that model led to its end, and its usage."""

    async def run(model, *fallbacks, turns=1, speech="tokens=3", limits=None, **settings):
        person = await make_user(at=make_place(models=settings))
        judge = await make_agent("Mod", by=person, model=model.name, model_fallbacks=[one.name for one in fallbacks])
        three = [await make_agent(name, by=person, model=make_model(speech).name) for name in ("Ada", "Bob", "Cyd")]
        discussion = await make_discussion(
            by=person,
            participants=[{"agent_id": judge.id, "role": "moderator"}, *seats(*three)],
            turn_policy={"type": "moderator", "allow_repeat": True},
            limits={"max_turns": turns, **(limits or {})},
        )
        viewer = await watch_to_the_end(person.http, discussion.id, 30)
        return viewer, (await read(person.http, discussion))["usage"]

    return run


def reasons(viewer):
    return [event.data["reason"] for event in viewer.of_type("turn.started")]


@pytest.mark.parametrize("script", ["hang_first", "endless&delay_ms=20"])
async def test_a_model_that_does_not_come_to_its_end_is_asked_once_and_not_waited_for_long(
    moderated, make_model, script
):
    model = make_model(script)

    viewer, _ = await moderated(model, turns=2, model_first_token_seconds=1)

    assert reasons(viewer) == [LOST] * 2
    assert len(model.requests) == 2
    began, first, second = [e.at for e in viewer.events if e.type in ("discussion.started", "turn.started")]
    assert max(first - began, second - first) < 5


@pytest.mark.parametrize(
    ("script", "patience", "times"),
    [
        pytest.param("hang_first", {"model_first_token_seconds": 1}, 1, id="it hangs"),
        pytest.param("status=401", {}, 1, id="asking again would not mend it"),
        pytest.param("status=503", {"model_breaker_failures": 0}, 2, id="it is down"),
    ],
)
async def test_a_model_that_fails_leaves_the_question_to_its_fallback(moderated, make_model, script, patience, times):
    failing, fallback = make_model(script), make_model(CHOOSES)

    viewer, _ = await moderated(failing, fallback, **patience)

    assert reasons(viewer) == [CHOSEN]
    assert (len(failing.requests), len(fallback.requests)) == (times, 1)


async def test_a_model_that_may_be_well_again_is_asked_once_more(moderated, make_model):
    model = make_model(f"{CHOOSES}&fail_times=1&status=503")

    viewer, _ = await moderated(model)

    assert reasons(viewer) == [CHOSEN]
    assert len(model.requests) == 2


async def test_an_open_circuit_is_not_waited_for(moderated, make_model):
    down, fallback = make_model("status=503"), make_model(CHOOSES)

    viewer, _ = await moderated(down, fallback, turns=3, model_breaker_failures=1, model_breaker_seconds=60)

    assert reasons(viewer) == [CHOSEN] * 3
    assert (len(down.requests), len(fallback.requests)) == (1, 3)


async def test_answers_of_no_use_are_not_more_for_a_fallback(moderated, make_model):
    """They are paid for: what was set aside for the question covers two."""
    rambling, fallback = make_model("reply=Well."), make_model(CHOOSES)

    viewer, _ = await moderated(rambling, fallback)

    assert reasons(viewer) == [LOST]
    assert (len(rambling.requests), len(fallback.requests)) == (2, 0)


async def test_a_prompt_that_does_not_fit_is_halved_once(moderated, make_model):
    model = make_model(f"{CHOOSES}&context_tokens=900")

    viewer, _ = await moderated(model, turns=4, speech="tokens=200")

    assert reasons(viewer) == [CHOSEN] * 4
    assert len(model.requests) > 4
    sizes = [sum(len(message["content"]) for message in prompt) for prompt in model.prompts]
    assert sizes[-1] < 0.7 * sizes[-2]


async def test_a_prompt_that_does_not_fit_even_so_costs_the_moderator_its_say(moderated, make_model):
    model = make_model(f"{CHOOSES}&context_tokens=1")

    viewer, _ = await moderated(model)

    assert reasons(viewer) == [LOST]
    assert len(model.requests) == 2


async def test_a_model_that_takes_neither_temperature_nor_format_chooses_all_the_same(moderated, make_model):
    model = make_model(f"{CHOOSES}&reject_temperature&reject_format")

    viewer, _ = await moderated(model)

    assert reasons(viewer) == [CHOSEN]


async def test_a_reply_is_long_enough_for_a_model_that_reasons(moderated, make_model):
    model = make_model(f"{CHOOSES}&empty")

    viewer, _ = await moderated(model)

    assert reasons(viewer) == [LOST]
    assert [request.body["max_tokens"] for request in model.requests] == [200, 200]


async def test_what_two_long_answers_of_no_use_take_stays_within_the_limit(moderated, make_model):
    model = make_model("tokens=500&no_usage")

    viewer, usage = await moderated(model, turns=30, speech="tokens=5&no_usage", limits={"max_tokens": 4_000})

    assert viewer.events[-1].data["end_reason"] == "max_tokens"
    assert usage["completion_tokens"] > 400
    assert usage["prompt_tokens"] + usage["completion_tokens"] <= 4_000
