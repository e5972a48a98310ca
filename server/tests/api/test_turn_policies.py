"""Turn policies end to end: with models that answer as they are told, seen by a viewer."""

from urllib.parse import quote

import pytest

from tests.fixtures.deadlines import eventually
from tests.fixtures.problems import problem
from tests.fixtures.reads import read
from tests.fixtures.viewer import watch_to_the_end, watching

pytestmark = pytest.mark.anyio


def replying(text):
    return f"reply={quote(text)}"


@pytest.fixture
def make_panel(make_agent, make_model):
    """Agents whose models say these texts, in seating order: `{"ada": "I ask @bob."}`."""

    async def make(**replies):
        models = {name: make_model(replying(text)) for name, text in replies.items()}
        agents = {name: await make_agent(name.title(), model=model.name) for name, model in models.items()}
        return agents, models

    return make


def panel_seats(agents, **roles):
    return [{"agent_id": agent.id, "role": roles.get(name, "speaker")} for name, agent in agents.items()]


@pytest.fixture
def open_discussion(make_discussion):
    async def open_it(participants, turn_policy, turns=4, **more):
        limits = {"max_turns": turns}
        return await make_discussion(participants=participants, turn_policy=turn_policy, limits=limits, **more)

    return open_it


async def turns_of(client, discussion):
    """The `turn.started` of a discussion that has run to its end."""
    viewer = await watch_to_the_end(client, discussion["id"])
    return [event.data for event in viewer.of_type("turn.started")]


def order(started):
    return [turn["handle"] for turn in started]


async def test_the_same_seed_draws_the_same_order(client, make_panel, open_discussion):
    agents, _ = await make_panel(ada="Yes.", bob="No.", cyd="Perhaps.")
    policy = {"type": "random", "weights": {"ada": 3, agents["cyd"].id: 0}}

    orders = []
    for _ in range(2):
        started = await turns_of(client, await open_discussion(panel_seats(agents), policy, 6, seed=11))
        orders.append(order(started))
        assert {turn["reason"] for turn in started} == {"random"}

    assert orders[0] == orders[1]
    assert set(orders[0]) == {"ada", "bob"}


async def test_who_is_addressed_speaks_next(client, make_panel, open_discussion):
    agents, _ = await make_panel(ada="I ask @cyd.", bob="Well.", cyd="Write to ada@bob.example, @BOB.")

    started = await turns_of(client, await open_discussion(panel_seats(agents), {"type": "mention"}, 4))

    assert order(started) == ["ada", "cyd", "bob", "cyd"]
    assert [turn["reason"] for turn in started] == [
        "mention: nobody, round_robin",
        "mention: by @ada",
        "mention: by @cyd",
        "mention: nobody, round_robin",
    ]


async def test_a_moderator_chooses_and_its_cost_is_in_the_log_and_in_the_usage(client, make_panel, open_discussion):
    agents, models = await make_panel(ada="Yes.", bob="No.", judge='{"next": "bob"}')
    seats = panel_seats(agents, judge="moderator")

    discussion = await open_discussion(seats, {"type": "moderator", "allow_repeat": True}, 3)
    started = await turns_of(client, discussion)

    assert discussion["next_speaker"] is None
    assert order(started) == ["bob", "bob", "bob"]
    assert {turn["reason"] for turn in started} == {"moderator: chosen by @judge"}
    choices = [turn["choice"] for turn in started]
    assert all(choice["prompt_tokens"] > 0 and choice["completion_tokens"] > 0 for choice in choices)
    messages = (await client.get(f"/api/v1/discussions/{discussion['id']}/messages")).json()["items"]
    spent = [*choices, *(message["usage"] for message in messages)]
    usage = (await read(client, discussion))["usage"]
    for name in ("prompt_tokens", "completion_tokens"):
        assert usage[name] == sum(one[name] for one in spent)
    assert "Choose one of: ada, bob." in models["judge"].prompts[0][-1]["content"]
    assert models["judge"].requests[0].body["temperature"] == 0


async def test_a_moderator_that_answers_garbage_for_ever_loses_its_say(client, make_panel, open_discussion):
    """Asked twice a turn, never more; then who has waited longest speaks, and never the last speaker."""
    agents, models = await make_panel(ada="Yes.", bob="No.", cyd="Perhaps.", judge="Let us all be kind.")

    discussion = await open_discussion(panel_seats(agents, judge="moderator"), {"type": "moderator"}, 6)
    started = await turns_of(client, discussion)

    assert order(started) == ["ada", "bob", "cyd"] * 2
    assert {turn["reason"] for turn in started} == {"moderator fallback: no usable answer, longest waiting"}
    assert len(models["judge"].requests) == 2 * 6


async def test_a_moderator_that_insists_on_the_last_speaker_is_not_followed(client, make_panel, open_discussion):
    agents, _ = await make_panel(ada="Yes.", bob="No.", cyd="Perhaps.", judge='{"next": "ada"}')

    started = await turns_of(
        client, await open_discussion(panel_seats(agents, judge="moderator"), {"type": "moderator"}, 4)
    )

    assert order(started) == ["ada", "bob", "ada", "cyd"]
    assert [turn["reason"].partition(":")[0] for turn in started] == ["moderator", "moderator fallback"] * 2


async def test_a_moderator_whose_model_is_down_does_not_stop_the_discussion(
    client, make_panel, make_agent, make_model, open_discussion
):
    agents, _ = await make_panel(ada="Yes.", bob="No.", cyd="Perhaps.")
    agents["judge"] = await make_agent("Judge", model=make_model("status=401").name)

    discussion = await open_discussion(panel_seats(agents, judge="moderator"), {"type": "moderator"}, 3)
    started = await turns_of(client, discussion)

    assert order(started) == ["ada", "bob", "cyd"]
    assert "choice" not in started[0]


async def test_the_highest_bid_speaks(client, make_panel, open_discussion):
    agents, models = await make_panel(ada='{"bid": 2}', bob='{"bid": 9}', cyd="I pass")

    started = await turns_of(client, await open_discussion(panel_seats(agents), {"type": "bidding"}, 3))

    assert order(started) == ["bob", "ada", "bob"]
    assert [turn["reason"] for turn in started] == ["bidding: 9 of 10", "bidding: 2 of 10", "bidding: 9 of 10"]
    assert all(turn["choice"]["prompt_tokens"] > 0 for turn in started)
    assert all(len(model.requests) >= 3 for model in models.values())


async def test_a_human_chooses_every_speaker(client, owner, make_panel, open_discussion):
    agents, _ = await make_panel(ada="Yes.", bob="No.")
    discussion = await open_discussion([*panel_seats(agents), {"user_id": owner.id}], {"type": "manual"}, 3)
    address = f"/api/v1/discussions/{discussion['id']}"
    assert (discussion["status"], discussion["next_speaker"]) == ("waiting", None)

    given = (await client.post(f"{address}/floor", json={"participant": "@bob"})).json()
    assert given["status"] == "running"
    assert (given["next_speaker"]["handle"], given["next_speaker"]["reason"]) == ("bob", "manual")
    waiting = await eventually(lambda: _waiting(client, discussion, 1), 10, "the turn of @bob")
    assert waiting["next_speaker"] is None

    given = (await client.post(f"{address}/floor", json={"participant": owner_seat(discussion)["id"]})).json()
    assert (given["status"], given["next_speaker"]["handle"]) == ("waiting", "ada-byron")
    problem(await client.post(f"{address}/floor", json={"participant": "ada"}), 409, "floor_not_free")
    posted = (await client.post(f"{address}/messages", json={"content": "I think so."})).json()
    assert (posted["message"]["turn"], posted["discussion"]["next_speaker"]) == (2, None)

    await client.post(f"{address}/floor", json={"participant": agents["ada"].id})
    viewer = await watch_to_the_end(client, discussion["id"])
    assert [message["handle"] for message in viewer.checker.messages.values()] == ["bob", "ada-byron", "ada"]
    assert viewer.types.count("discussion.resumed") == 4


def owner_seat(discussion):
    return next(seat for seat in discussion["participants"] if seat["kind"] == "human")


async def _waiting(client, discussion, turn):
    now = await read(client, discussion)
    return now if (now["status"], now["turn"]) == ("waiting", turn) else None


@pytest.fixture
async def waiting(make_panel, open_discussion):
    agents, _ = await make_panel(ada="Yes.", bob="No.")
    return await open_discussion(panel_seats(agents), {"type": "manual"}, 3)


async def test_the_floor_is_given_to_nobody_who_is_not_at_the_table(client, owner, waiting, rows_of):
    before = rows_of(owner)

    refused = await client.post(f"/api/v1/discussions/{waiting['id']}/floor", json={"participant": "dan"})

    assert problem(refused, 422, "unknown_participant")["errors"][0]["loc"] == ["body", "participant"]
    assert rows_of(owner) == before


@pytest.mark.parametrize("body", [{}, {"participant": ""}, {"participant": 5}, {"participant": "ada", "now": True}])
async def test_a_choice_that_makes_no_sense_is_refused(client, waiting, body):
    refused = await client.post(f"/api/v1/discussions/{waiting['id']}/floor", json=body)

    problem(refused, 422, "validation_failed")


@pytest.mark.parametrize("status", ["draft", "waiting", "ended"])
async def test_the_floor_is_given_only_where_a_choice_is_waited_for(client, make_discussion, status):
    discussion = await make_discussion(status=status)

    refused = await client.post(f"/api/v1/discussions/{discussion.id}/floor", json={"participant": "skeptic"})

    problem(refused, 409, "floor_not_free")


async def test_a_stranger_gives_no_floor(stranger, waiting):
    refused = await stranger.http.post(f"/api/v1/discussions/{waiting['id']}/floor", json={"participant": "ada"})

    problem(refused, 404, "not_found")


async def test_words_of_a_person_do_not_choose_a_speaker(client, waiting):
    await client.post(f"/api/v1/discussions/{waiting['id']}/messages", json={"content": "@ada, please"})

    now = await read(client, waiting)
    assert (now["status"], now["next_speaker"], now["turn"]) == ("waiting", None, 0)


async def test_a_script_is_played_and_ends(client, make_panel, open_discussion):
    agents, models = await make_panel(ada="Yes.", bob="No.")
    phases = [
        {"name": "opening", "speakers": ["bob", "@ada"], "instruction": "State your position."},
        {"name": "closing", "speakers": [agents["ada"].id], "rounds": 2},
    ]

    discussion = await open_discussion(panel_seats(agents), {"type": "scripted", "phases": phases}, 50)
    started = await turns_of(client, discussion)

    assert order(started) == ["bob", "ada", "ada", "ada"]
    assert [turn["reason"] for turn in started][1:3] == ["scripted: opening", "scripted: closing 1/2"]
    assert started[2]["policy_state"]["phase"] == 1
    ended = await read(client, discussion)
    assert (ended["status"], ended["end_reason"], ended["turn"]) == ("ended", "stop_condition", 4)
    assert models["bob"].prompts[0][-1]["content"].endswith("Bob, you have the floor. State your position.")
    assert "State your position." not in models["ada"].prompts[1][-1]["content"]


async def test_a_council_answers_blind_reviews_without_names_and_concludes(client, make_panel, open_discussion):
    answers = {
        "ada": "Ada says apples.",
        "bob": "Bob says @ada eats bread.",
        "cyd": "Cyd says cheese.",
        "chair": "Done.",
    }
    agents, models = await make_panel(**answers)

    discussion = await open_discussion(
        panel_seats(agents), {"type": "scripted", "format": "council", "seats": {"chair": "chair"}}, 20
    )
    started = await turns_of(client, discussion)

    assert discussion["turn_policy"]["seats"] == {"chair": ["chair"]}
    assert order(started) == ["ada", "bob", "cyd"] * 2 + ["chair"]
    words = {"ada": "apples", "bob": "bread", "cyd": "cheese"}
    for name, model in models.items():
        if name == "chair":
            continue
        answering, reviewing = (others_words(prompt) for prompt in model.prompts)
        assert not any(word in answering for word in words.values())
        for other, word in words.items():
            # What is reviewed is the answer, and not yet anybody's review.
            assert reviewing.count(word) == (other != name)
            assert f"@{other}" not in reviewing or other == name
    assert "[@participant-b] Bob says @ada eats bread." in others_words(models["ada"].prompts[1])
    assert "[@participant-b] Bob says @participant-a eats bread." in others_words(models["cyd"].prompts[1])
    concluding = others_words(models["chair"].prompts[0])
    assert all(concluding.count(word) == 2 for word in words.values())
    assert "@ada" not in concluding


def others_words(prompt):
    return "\n".join(message["content"] for message in prompt if message["role"] == "user")


async def test_a_blind_agent_still_sees_its_own_words_and_what_people_add(client, make_panel, open_discussion):
    agents, models = await make_panel(ada="Apples.", bob="Bread.")
    phase = {"speakers": "all", "rounds": 2, "blind": True}
    discussion = await open_discussion(panel_seats(agents), {"type": "scripted", "phases": [phase]}, 20, start=False)
    await client.post(f"/api/v1/discussions/{discussion['id']}/messages", json={"content": "Mind the budget."})
    await client.post(f"/api/v1/discussions/{discussion['id']}/start")

    await watch_to_the_end(client, discussion["id"])

    first, second = models["ada"].prompts
    assert "Mind the budget." in others_words(first)
    assert [message["content"] for message in second if message["role"] == "assistant"] == ["Apples."]
    assert "Bread." not in others_words(second)


async def test_formats_are_listed_and_open_a_discussion_as_they_say(client, make_panel, open_discussion):
    page = (await client.get("/api/v1/formats")).json()

    assert page["next_cursor"] is None
    by_name = {form["name"]: form for form in page["items"]}
    assert list(by_name) == ["debate", "brainstorm", "interview", "council"]
    for form in by_name.values():
        assert form["title"]
        assert form["description"]
        assert form["seats"]["min"] == sum(role["min"] for role in form["roles"])
        assert [phase["repeated"] for phase in form["phases"]].count(True) == 1
    assert [phase["blind"] for phase in by_name["council"]["phases"]] == [True, True, False]
    agents, _ = await make_panel(ada="Yes.", bob="No.")
    policy = {**by_name["debate"]["turn_policy"], "rounds": 1}
    started = await turns_of(client, await open_discussion(panel_seats(agents), policy, 20))
    assert order(started) == ["ada", "bob"] * 3


async def test_formats_are_for_people_who_are_logged_in(anonymous):
    problem(await anonymous.get("/api/v1/formats"), 401, "unauthenticated")


BROKEN = """
from app.domain.policies import SelfDeciding

class Broken(SelfDeciding):
    def next_speaker(self, roster, history, rng):
        if history.turn == 1:
            raise RuntimeError("boom")
        return super().nothing()
"""


async def test_a_plugin_drives_a_discussion(client, make_panel, open_discussion, install_plugins):
    install_plugins(least_spoken="least_spoken:LeastSpoken")
    agents, models = await make_panel(ada="One two three four.", bob="One.", cyd="One two.")

    policy = {"type": "least_spoken", "words": 12}
    discussion = await open_discussion(panel_seats(agents), policy, 5)
    started = await turns_of(client, discussion)

    assert discussion["turn_policy"] == policy
    assert order(started) == ["ada", "bob", "cyd", "bob", "cyd"]
    assert started[-1]["reason"] == "least_spoken: 2 words"
    assert "Answer in about 12 words." in models["bob"].prompts[0][-1]["content"]


async def test_a_plugin_that_raises_gives_its_turns_to_round_robin(
    client, make_panel, open_discussion, install_plugins
):
    install_plugins(BROKEN, broken="plugins_of_this_test:Broken")
    agents, _ = await make_panel(ada="Yes.", bob="No.")

    discussion = await open_discussion(panel_seats(agents), {"type": "broken"}, 3)
    started = await turns_of(client, discussion)

    assert order(started) == ["ada", "bob", "ada"]
    assert {turn["reason"] for turn in started} == {"fallback: broken failed"}
    assert (await read(client, discussion))["end_reason"] == "max_turns"


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ({"type": "loudest"}, "unknown_turn_policy"),
        ({"type": "loudest", "config": {"any": "thing"}}, "unknown_turn_policy"),
        ({"type": "random", "weights": {"nobody": 1}}, "unknown_participant"),
        ({"type": "random", "weights": {"ada": 0, "bob": 0}}, "invalid_turn_policy"),
        ({"type": "random", "weights": {"ada": -1}}, "validation_failed"),
        ({"type": "random", "weights": {"ada": "much"}}, "validation_failed"),
        ({"type": "mention", "fallback": {"type": "mention"}}, "validation_failed"),
        ({"type": "mention", "fallback": "moderator"}, "validation_failed"),
        ({"type": "mention", "fallback": {"type": "random", "weights": {"nobody": 1}}}, "unknown_participant"),
        ({"type": "moderator"}, "invalid_turn_policy"),
        ({"type": "moderator", "moderator": "nobody"}, "unknown_participant"),
        ({"type": "bidding", "default_bid": 11}, "validation_failed"),
        ({"type": "manual", "who": "ada"}, "validation_failed"),
        ({"type": "round_robin", "weights": {}}, "validation_failed"),
        ({"type": "scripted"}, "validation_failed"),
        ({"type": "scripted", "phases": []}, "validation_failed"),
        ({"type": "scripted", "phases": [{"name": "one"}]}, "validation_failed"),
        ({"type": "scripted", "phases": [{"name": "one", "speakers": []}]}, "validation_failed"),
        ({"type": "scripted", "phases": [{"name": "one", "speakers": ["nobody"]}]}, "unknown_participant"),
        ({"type": "scripted", "phases": [{"speakers": "all", "except": ["ada", "bob"]}]}, "invalid_turn_policy"),
        ({"type": "scripted", "phases": [{"speakers": "all", "rounds": 0}]}, "validation_failed"),
        ({"type": "scripted", "format": "duel"}, "validation_failed"),
        ({"type": "scripted", "format": "council"}, "invalid_turn_policy"),
        ({"type": "scripted", "format": "debate", "phases": [{"speakers": "all"}]}, "validation_failed"),
        ({"type": "scripted", "phases": [{"speakers": "all"}], "rounds": 2}, "validation_failed"),
        ({"type": "scripted", "format": "debate", "seats": {"for": "nobody"}}, "unknown_participant"),
        ({"type": "Odd Name"}, "validation_failed"),
        ({"type": 5}, "validation_failed"),
        ({"type": None}, "validation_failed"),
        ("round_robin", "validation_failed"),
        ({"type": "loudest", "text": "x" * 20_000}, "validation_failed"),
        ({"type": "loudest", "text": "\0"}, "validation_failed"),
        ({"type": "loudest", "number": 2**70}, "validation_failed"),
    ],
)
async def test_a_policy_that_makes_no_sense_is_refused_and_nothing_is_written(
    client, owner, make_panel, rows_of, policy, code
):
    agents, _ = await make_panel(ada="Yes.", bob="No.")
    before = rows_of(owner)

    body = {"topic": "Remote?", "participants": panel_seats(agents), "turn_policy": policy}
    refused = problem(await client.post("/api/v1/discussions", json=body), 422, code)

    assert refused["errors"][0]["loc"][:2] == ["body", "turn_policy"]
    assert rows_of(owner) == before


@pytest.mark.parametrize(
    ("rules", "place", "told"),
    [
        (
            {"turn_policy": {"type": "scripted", "phases": [{"speakers": []}]}},
            "turn_policy.phases.0.speakers",
            "1 item",
        ),
        ({"turn_policy": {"type": "scripted", "phases": [{"speakers": 5}]}}, "turn_policy.phases.0.speakers", "string"),
        ({"turn_policy": {"type": "scripted", "phases": [{}]}}, "turn_policy.phases.0.speakers", "required"),
        ({"turn_policy": None}, "turn_policy", ""),
        ({"turn_policy": {"type": "random", "weights": {"ada": -1}}}, "turn_policy.weights.ada", "greater"),
        ({"stop_when": [{"type": "phrase", "phrase": ""}]}, "stop_when.0.phrase", "1 "),
        ({"limits": {"max_turns": 0}}, "limits.max_turns", "greater"),
    ],
)
async def test_a_fault_in_the_rules_is_told_with_its_place_in_the_body(client, make_panel, rules, place, told):
    agents, _ = await make_panel(ada="Yes.", bob="No.")

    body = {"topic": "Remote?", "participants": panel_seats(agents), **rules}
    refused = problem(await client.post("/api/v1/discussions", json=body), 422, "validation_failed")

    [fault] = refused["errors"]
    assert (fault["loc"][0], ".".join(map(str, fault["loc"][1:]))) == ("body", place)
    assert told in fault["msg"]


async def test_a_plugins_configuration_is_kept_as_it_was_given(make_panel, open_discussion, install_plugins):
    install_plugins(least_spoken="least_spoken:LeastSpoken")
    agents, _ = await make_panel(ada="Yes.")
    policy = {"type": "least_spoken", "nothing": None, "nested": {"nothing": None, "list": [1, 2.5, "é"]}}

    discussion = await open_discussion(panel_seats(agents), policy, start=False)

    assert discussion["turn_policy"] == policy


@pytest.mark.parametrize("text", ['{"type": "loudest", "x": NaN}', '{"type": "loudest", "x": "\\ud800"}'])
async def test_a_plugins_configuration_that_cannot_be_stored_is_refused(client, make_panel, text):
    agents, _ = await make_panel(ada="Yes.")
    body = f'{{"topic": "Remote?", "participants": [{{"agent_id": "{agents["ada"].id}"}}], "turn_policy": {text}}}'

    refused = await client.post("/api/v1/discussions", content=body, headers={"Content-Type": "application/json"})

    problem(refused, 422, "validation_failed")


async def test_a_moderator_must_be_an_agent(client, owner, make_panel):
    agents, _ = await make_panel(ada="Yes.")
    seats = [*panel_seats(agents), {"user_id": owner.id, "role": "moderator"}]
    body = {"topic": "Remote?", "participants": seats, "turn_policy": {"type": "moderator"}}

    refused = problem(await client.post("/api/v1/discussions", json=body), 422, "invalid_turn_policy")

    assert "has no model" in refused["detail"]


async def test_who_starves_gets_the_floor_and_the_reason_is_in_the_log(client, make_panel, open_discussion):
    agents, _ = await make_panel(ada="Yes.", bob="No.")

    started = await turns_of(
        client, await open_discussion(panel_seats(agents), {"type": "random", "weights": {"bob": 0}}, 6)
    )

    assert order(started) == ["ada"] * 5 + ["bob"]
    assert started[-1]["reason"] == "waited_too_long"


async def test_a_discussion_whose_models_are_asked_can_be_stopped(
    client, make_panel, make_agent, make_model, open_discussion
):
    agents, _ = await make_panel(ada="Yes.", bob="No.")
    agents["judge"] = await make_agent("Judge", model=make_model("hang_first").name)
    discussion = await open_discussion(panel_seats(agents, judge="moderator"), {"type": "moderator"})

    async with watching(client, discussion["id"]) as viewer:
        stopped = await client.post(f"/api/v1/discussions/{discussion['id']}/stop")
        await viewer.until_ended(5)

    assert (stopped.json()["end_reason"], stopped.json()["turn"]) == ("stopped", 0)


async def test_pausing_before_the_last_choice_of_a_manual_discussion_does_not_end_it(
    client, make_panel, open_discussion
):
    agents, _models = await make_panel(ada="One.", bob="Two.")
    discussion = await open_discussion(panel_seats(agents), {"type": "manual"}, turns=2)
    path = f"/api/v1/discussions/{discussion['id']}"
    async with watching(client, discussion["id"]) as viewer:
        await client.post(f"{path}/floor", json={"participant": "ada"})
        await viewer.until("message.completed")
        await eventually(lambda: len(viewer.of_type("discussion.waiting")) == 2)
        await client.post(f"{path}/pause")
        resumed = (await client.post(f"{path}/resume")).json()
        await client.post(f"{path}/floor", json={"participant": "bob"})
        await viewer.until_ended()

    assert (resumed["status"], resumed["end_reason"], resumed["turn"]) == ("waiting", None, 1)
    assert order([event.data for event in viewer.of_type("turn.started")]) == ["ada", "bob"]


BROKEN_QUESTIONS = """
from app.domain.policies import Choice, Question, SelfDeciding

class BadPrompt(SelfDeciding):
    more = {"prompt": lambda budget: open("/nowhere")}

    def questions(self, roster, history):
        return [Question(roster[0].participant_id, "Who?", str, **self.more)]

    def next_speaker(self, roster, history, rng):
        return Choice(roster[0].participant_id, "mine")

class BadSchema(BadPrompt):
    more = {"schema": {"enum": {1, 2}}}
"""


@pytest.mark.parametrize("plugin", ["BadPrompt", "BadSchema"])
async def test_a_plugin_whose_question_cannot_be_asked_never_stops_a_discussion(
    client, make_panel, open_discussion, install_plugins, plugin
):
    install_plugins(BROKEN_QUESTIONS, odd=f"plugins_of_this_test:{plugin}")
    agents, _models = await make_panel(ada="One.")
    discussion = await open_discussion(panel_seats(agents), {"type": "odd"}, turns=2)

    assert [turn["reason"] for turn in await turns_of(client, discussion)] == ["mine"] * 2
