"""The lifecycle against a model of it: whatever commands come in whatever order, both say the same.

The installation runs in processes of its own, since Hypothesis rules over the random numbers of this one.
"""

import asyncio
import itertools
import time

import httpx2
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.domain import snapshot
from app.engines.ports import free_port
from tests.factories.agents import agent_body
from tests.fixtures.people import PASSWORD

EXAMPLES, STEPS = 15, 14
SECONDS = 10
COMMANDS = {
    "start": {"draft"},
    "pause": {"running", "waiting"},
    "resume": {"paused"},
    "interrupt": {"running", "waiting"},
    "stop": {"draft", "running", "waiting", "paused"},
}
_numbers = itertools.count(1)


class Client:
    """A person of the installation, one request after another."""

    def __init__(self, url: str) -> None:
        self.http = httpx2.Client(base_url=f"{url}/api/v1", trust_env=False, verify=False, timeout=20)
        email = f"model-{next(_numbers)}@arena.example"
        account = {"email": email, "password": PASSWORD, "display_name": "Ada"}
        self.user_id = self.http.post("/auth/register", json=account).raise_for_status().json()["id"]
        form = {"grant_type": "password", "username": email, "password": PASSWORD}
        token = self.http.post("/auth/token", data=form).raise_for_status().json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"
        # It never comes to an end by itself: what it does is up to the commands alone.
        speaker = agent_body("Speaker", model="openai/fake?endless&delay_ms=5", params={"max_tokens": 32_000})
        self.agent_id = self.post("/agents", **speaker)["id"]
        self.others = [self.post("/agents", **agent_body(name))["id"] for name in ("Late", "Later")]

    def post(self, path: str, **body: object) -> dict:
        return self.http.post(path, json=body).raise_for_status().json()


class Lifecycle(RuleBasedStateMachine):
    """A person and an agent take turns; `expected` is what the model says of the status."""

    client: Client

    @initialize(starts=st.booleans())
    def open(self, starts: bool) -> None:
        body = {
            "topic": "Anything",
            "participants": [{"user_id": self.client.user_id}, {"agent_id": self.client.agent_id}],
            "limits": {"max_turns": 1000},
            "start": starts,
        }
        made = self.client.post("/discussions", **body)
        self.path, self.expected = f"/discussions/{made['id']}", "waiting" if starts else "draft"
        self.pausing, self.turn, self.agent_has_floor = False, 0, False

    def state(self) -> dict:
        return self.client.http.get(self.path).raise_for_status().json()

    @rule(command=st.sampled_from(sorted(COMMANDS)))
    def give_command(self, command: str) -> None:
        before = self.state()
        response = self.client.http.post(f"{self.path}/{command}")
        if self.expected in COMMANDS[command]:
            assert response.status_code == 200, response.text
            getattr(self, f"_{command}")()
        else:
            assert (response.status_code, response.json()["code"]) == (409, "illegal_transition")
            assert self._without_progress(self.state()) == self._without_progress(before)

    @staticmethod
    def _without_progress(state: dict) -> dict:
        """A speaker may have begun meanwhile."""
        return {name: value for name, value in state.items() if name not in {"last_seq", "updated_at"}}

    def _start(self) -> None:
        self.expected = "waiting"

    def _pause(self) -> None:
        if self.expected == "running" and self.state()["status"] == "running":
            self.pausing = True  # the agent speaks and never ends
        else:
            self.expected = "paused"

    def _resume(self) -> None:
        self.expected = "running" if self.agent_has_floor else "waiting"

    def _interrupt(self) -> None:
        turn = self.state()["turn"]
        if turn > self.turn:  # words of the agent's were shown: that was its turn
            self.turn, self.agent_has_floor = turn, False
        self.expected, self.pausing = "paused", False

    def _stop(self) -> None:
        self.turn = self.state()["turn"]
        self.expected, self.pausing = "ended", False

    @rule()
    def speak(self) -> None:
        response = self.client.http.post(f"{self.path}/messages", json={"content": "What do you think?"})
        if self.expected == "ended":
            assert (response.status_code, response.json()["code"]) == (409, "discussion_ended")
            return
        message = response.raise_for_status().json()["message"]
        if self.expected == "waiting":
            self.turn += 1
            self.expected, self.agent_has_floor = "running", True
            assert message["turn"] == self.turn
        else:
            assert message["turn"] is None

    @precondition(lambda self: self.expected == "running")
    @rule()
    def let_it_speak(self) -> None:
        deadline = time.monotonic() + SECONDS
        while not self._has_begun():
            assert time.monotonic() < deadline, "the agent does not speak"
            time.sleep(0.02)

    def _has_begun(self) -> bool:
        """Whether the agent's turn is open; people's words may have come after."""
        opened = [event["data"]["turn"] for event in self._events() if event["type"] == "turn.started"]
        return bool(opened) and opened[-1] == self.turn + 1

    @rule(title=st.sampled_from(["One", "Two"]), topic=st.none() | st.just("Another"))
    def change(self, title: str, topic: str | None) -> None:
        response = self.client.http.patch(self.path, json={"title": title} | ({"topic": topic} if topic else {}))
        allowed = topic is None or self.expected in {"draft", "paused"}
        assert response.status_code == (200 if allowed else 409), response.text

    @precondition(lambda self: self.expected in {"draft", "paused"})
    @rule(which=st.sampled_from([0, 1]))
    def come_and_go(self, which: int) -> None:
        joined = self.client.post(f"{self.path}/participants", agent_id=self.client.others[which])
        left = self.client.http.delete(f"{self.path}/participants/{joined['id']}")
        assert left.status_code == 204

    def _events(self) -> list[dict]:
        events, after = [], 0
        while page := self.client.http.get(f"{self.path}/events?limit=200&after={after}").json()["items"]:
            events += page
            after = page[-1]["seq"]
        return events

    @invariant()
    def both_say_the_same(self) -> None:
        if not hasattr(self, "path"):
            return
        state = self.state()
        assert (state["status"], state["pausing"]) == (self.expected, self.pausing)
        assert state["turn"] == self.turn

    def teardown(self) -> None:
        if not hasattr(self, "path"):
            return
        events, folded = self._events(), dict(snapshot.EMPTY)
        for place, event in enumerate(events, 1):
            assert event["seq"] == place
            folded = snapshot.apply(folded, event["seq"], event["type"], event["data"])
        told = ("status", "end_reason", "turn", "next_speaker", "pausing", "title", "last_seq", "usage")
        state = self.state()
        if state["last_seq"] == folded["last_seq"]:
            assert {name: folded.get(name) for name in told} == {name: state[name] for name in told}
        self.client.http.delete(self.path)


@pytest.fixture
def url(settings, start_process):
    """An API and a worker of the shared database, in processes of their own."""
    port = free_port()
    start_process("api", settings=settings, ARENA_PORT=str(port))
    asyncio.run(start_process("worker", settings=settings).ready())
    deadline = time.monotonic() + 20
    with httpx2.Client(trust_env=False, verify=False) as http:
        while time.monotonic() < deadline:
            try:
                http.get(f"http://127.0.0.1:{port}/healthz").raise_for_status()
                break
            except httpx2.TransportError:
                time.sleep(0.05)
    return f"http://127.0.0.1:{port}"


def test_no_order_of_commands_makes_the_lifecycle_differ_from_its_model(url):
    client = Client(url)

    class Here(Lifecycle):
        pass

    Here.client = client
    run_state_machine_as_test(
        Here,
        settings=hypothesis_settings(max_examples=EXAMPLES, stateful_step_count=STEPS, derandomize=True, deadline=None),
    )
