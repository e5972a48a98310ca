"""What the client sends, and what it makes of the answers."""

from datetime import UTC, datetime

import pytest

from arena_client import ArenaProblem, ArenaUnreachable
from tests.fixtures.scripted_server import Reply, ScriptedServer, refusal

MOMENT = "2026-01-01T00:00:00Z"


def agent(number: int) -> dict:
    return {
        "id": f"a{number}",
        "version": 1,
        "name": f"Agent {number}",
        "handle": f"agent-{number}",
        "kind": "llm",
        "persona": "",
        "model": "local/smollm2-135m",
        "params": {"temperature": 0.5},
        "tools": [],
        "knowledge_base_ids": [],
        "memory": {"long_term": False},
        "color": None,
        "endpoint_url": None,
        "created_at": MOMENT,
        "updated_at": MOMENT,
    }


DISCUSSION = {
    "id": "d1",
    "topic": "Why?",
    "title": None,
    "status": "running",
    "end_reason": None,
    "turn": 0,
    "last_seq": 2,
    "version": 1,
    "next_speaker": {"participant_id": "p1", "handle": "agent-1", "reason": "round_robin"},
    "participants": [{"id": "p1", "kind": "llm", "role": "speaker", "handle": "agent-1", "name": "Agent 1"}],
    "usage": {"prompt_tokens": 0, "completion_tokens": 0, "cost_usd": 0.0},
    "limits": {"max_turns": 3},
    "created_at": MOMENT,
}


@pytest.fixture
def client(server, make_client):
    with make_client(server.url + "/", "token") as client:
        yield client


def test_a_list_is_read_page_by_page_and_only_as_far_as_it_is_used(server, client):
    server.on(
        "GET",
        "/agents",
        Reply({"items": [agent(1), agent(2)], "next_cursor": "more"}),
        Reply({"items": [agent(3)], "next_cursor": None}),
    )

    agents = client.agents.list(q="age")
    first = next(agents)
    assert (first.name, first.created_at) == ("Agent 1", datetime(2026, 1, 1, tzinfo=UTC))
    assert len(server.asked) == 1

    assert [one.id for one in agents] == ["a2", "a3"]
    assert [asked.query for asked in server.asked] == [
        {"q": "age", "limit": "200"},
        {"q": "age", "limit": "200", "cursor": "more"},
    ]


def test_what_is_not_given_is_not_sent(server, client):
    server.on("POST", "/discussions", Reply(DISCUSSION, 201))

    discussion = client.discussions.create("Why?", ["a1", {"user_id": "u1"}], limits={"max_turns": 3}, seed=None)

    assert server.asked[0].json == {
        "topic": "Why?",
        "participants": [{"agent_id": "a1"}, {"user_id": "u1"}],
        "document_ids": [],
        "start": True,
        "limits": {"max_turns": 3},
    }
    assert discussion.next_speaker is not None
    assert discussion.next_speaker.handle == "agent-1"
    assert discussion.participants[0].name == "Agent 1"


def test_a_message_is_posted_and_the_discussion_told(server, client):
    message = {"id": "m1", "seq": 3, "participant_id": "p2", "handle": "me", "name": "Me", "kind": "human"}
    message |= {"content": "Hello", "status": "complete", "created_at": MOMENT, "turn": None, "usage": None}
    server.on("POST", "/discussions/d1/messages", Reply({"message": message, "discussion": DISCUSSION}, 201))

    posted = client.discussions.post_message("d1", "Hello", reply_to="m0")

    assert server.asked[0].json == {"content": "Hello", "reply_to": "m0"}
    assert (posted.message.content, posted.message.turn, posted.discussion.last_seq) == ("Hello", None, 2)


def test_a_whisper_names_who_may_read_it(server, client):
    message = {"id": "m1", "seq": 3, "participant_id": "p2", "handle": "me", "name": "Me", "kind": "human"}
    message |= {"content": "Psst", "status": "complete", "created_at": MOMENT, "visible_to": ["p2", "p1"]}
    server.on("POST", "/discussions/d1/messages", Reply({"message": message, "discussion": DISCUSSION}, 201))

    posted = client.discussions.post_message("d1", "Psst", visible_to=("p1",))

    assert server.asked[0].json == {"content": "Psst", "visible_to": ["p1"]}
    assert posted.message.visible_to == ["p2", "p1"]


def test_a_whisper_to_nobody_is_not_said_to_all(server, client):
    """The server refuses it; leaving the empty list out would tell everybody."""
    server.on("POST", "/discussions/d1/messages", refusal(422, "validation_failed"))

    with pytest.raises(ArenaProblem):
        client.discussions.post_message("d1", "Psst", visible_to=[])

    assert server.asked[0].json == {"content": "Psst", "visible_to": []}


def test_an_update_can_insist_on_the_version_it_knows(server, client):
    server.on("PATCH", "/agents/a1", refusal(412, "stale_version"))

    with pytest.raises(ArenaProblem) as caught:
        client.agents.update("a1", expected_version=3, name="New", color=None)

    assert caught.value.code == "stale_version"
    assert server.asked[0].headers["if-match"] == '"3"'
    assert server.asked[0].json == {"name": "New", "color": None}


def test_a_transcript_is_text(server, client):
    text = "# Why?\n\nÉ\n".encode()
    server.on("GET", "/discussions/d1/transcript", Reply(text, headers={"Content-Type": "text/markdown"}))

    assert client.discussions.transcript("d1") == "# Why?\n\nÉ\n"
    assert server.asked[0].query == {"format": "md"}


def test_an_id_cannot_lead_to_another_resource(server, client):
    with pytest.raises(ArenaProblem):
        client.agents.get("../discussions?x=1")

    assert server.asked[0].path == "/api/v1/agents/..%2Fdiscussions%3Fx%3D1"


def test_a_problem_carries_what_the_server_told(server, client):
    server.on("GET", "/agents/a1", refusal(429, "rate_limited", "slowly", **{"Retry-After": "7"}))

    with pytest.raises(ArenaProblem) as caught:
        client.agents.get("a1")

    problem = caught.value
    assert (problem.status, problem.code, problem.detail, problem.request_id) == (429, "rate_limited", "slowly", "r-1")
    assert (problem.retry_after_seconds, problem.may_pass) == (7, True)
    assert str(problem) == "slowly (429 rate_limited)"


def test_a_refusal_by_something_in_between_is_a_problem_too(server, client):
    page = Reply(b"<html>Bad gateway</html>", 502, {"Content-Type": "text/html", "X-Request-ID": "r-9"})
    server.on("GET", "/agents/a1", page)

    with pytest.raises(ArenaProblem) as caught:
        client.agents.get("a1")

    assert (caught.value.code, caught.value.detail, caught.value.request_id) == ("http_502", "Bad Gateway", "r-9")


def test_another_kind_of_server_is_recognised(server, client):
    server.on("GET", "/agents/a1", Reply(b"<html>Welcome</html>", headers={"Content-Type": "text/html"}))

    with pytest.raises(ArenaUnreachable, match="not with JSON of Discussion Arena"):
        client.agents.get("a1")


def test_nobody_there_is_told_as_such(make_client):
    with ScriptedServer() as gone:
        url = gone.url

    with make_client(url) as client, pytest.raises(ArenaUnreachable, match=f"no answer from {url}/api/v1"):
        client.me()


@pytest.mark.parametrize("step", ["start", "pause", "resume", "interrupt", "stop"])
def test_a_discussion_is_steered_by_its_commands(client, server, step):
    server.on("POST", f"/discussions/d1/{step}", Reply(DISCUSSION | {"status": "paused", "pausing": False}))

    assert getattr(client.discussions, step)("d1").status == "paused"


def test_a_fork_says_where_it_parts_and_what_differs(client, server):
    server.on("POST", "/discussions/d1/fork", Reply(DISCUSSION | {"parent": {"id": "d0", "seq": 7}}, status=201))

    made = client.discussions.fork("d1", at_seq=7, limits={"max_turns": 3})

    assert made.parent == {"id": "d0", "seq": 7}
    [asked] = server.of("/discussions/d1/fork")
    assert asked.json == {"at_seq": 7, "limits": {"max_turns": 3}}


def test_a_rerun_is_a_fork_at_nothing(client, server):
    server.on("POST", "/discussions/d1/fork", Reply(DISCUSSION, status=201))

    client.discussions.fork("d1", at_seq=0)

    assert server.of("/discussions/d1/fork")[0].json == {"at_seq": 0}


def test_seats_are_taken_and_left(client, server):
    seat = {"id": "p2", "kind": "llm", "role": "speaker", "handle": "late", "name": "Late", "agent_id": "a2"}
    server.on("POST", "/discussions/d1/participants", Reply(seat, status=201))
    server.on("DELETE", "/discussions/d1/participants/p2", Reply(b"", status=204))

    assert client.discussions.join("d1", "a2").handle == "late"
    client.discussions.leave("d1", "p2")

    assert server.of("/discussions/d1/participants")[0].json == {"agent_id": "a2"}
    assert server.of("/discussions/d1/participants/p2")[0].method == "DELETE"


def test_a_paused_discussion_is_changed_at_the_version_expected(client, server):
    server.on("PATCH", "/discussions/d1", Reply(DISCUSSION | {"topic": "Why not?"}))

    assert client.discussions.update("d1", expected_version=1, topic="Why not?").topic == "Why not?"

    [asked] = server.of("/discussions/d1")
    assert (asked.headers["if-match"], asked.json) == ('"1"', {"topic": "Why not?"})
