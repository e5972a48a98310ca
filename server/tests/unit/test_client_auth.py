"""How the client keeps its token."""

import threading

import pytest

from arena_client import ArenaProblem
from tests.fixtures.scripted_server import Reply, Stream, frame, refusal

ME = {
    "id": "u1",
    "email": "a@b.example",
    "display_name": "A",
    "is_superuser": False,
    "created_at": "2026-01-01T00:00:00Z",
    "workspaces": [{"id": "w1", "name": "A's workspace", "role": "owner", "a_field_of_tomorrow": 1}],
}


def tokens(number: int, expires_in: float = 600) -> Reply:
    body = {"access_token": f"access-{number}", "refresh_token": f"refresh-{number}", "expires_in": expires_in}
    return Reply({**body, "token_type": "bearer", "scope": ""})


@pytest.fixture
def server(server):
    server.on("GET", "/auth/me", Reply(ME))
    return server


@pytest.fixture
def client(server, make_client):
    with make_client(server.url) as client:
        yield client


def bearers(server, path="/auth/me"):
    return [asked.headers["authorization"].removeprefix("Bearer ") for asked in server.of(path)]


def test_a_login_is_used_from_then_on(server, client):
    server.on("POST", "/auth/token", tokens(1))

    client.login("a@b.example", "correct horse battery")

    assert client.me().workspaces[0].role == "owner"
    assert server.of("/auth/token")[0].form == {
        "grant_type": "password",
        "username": "a@b.example",
        "password": "correct horse battery",
    }
    assert bearers(server) == ["access-1"]


def test_a_token_about_to_run_out_is_renewed_before_it_is_used(server, client):
    server.on("POST", "/auth/token", tokens(1, expires_in=0), tokens(2))
    client.login("a@b.example", "password")

    client.me()
    client.me()

    assert bearers(server) == ["access-2", "access-2"]
    assert server.of("/auth/token")[1].form == {"grant_type": "refresh_token", "refresh_token": "refresh-1"}


def test_a_token_that_the_server_calls_expired_is_renewed_and_the_request_repeated(server, client):
    server.on("POST", "/auth/token", tokens(1), tokens(2))
    client.login("a@b.example", "password")
    server.on("POST", "/agents", refusal(401, "token_expired"), refusal(409, "handle_taken"))

    with pytest.raises(ArenaProblem) as caught:
        client.agents.create("Skeptic", model="local/smollm2-135m")

    assert caught.value.code == "handle_taken"
    assert bearers(server, "/agents") == ["access-1", "access-2"]
    assert server.of("/agents")[0].body == server.of("/agents")[1].body


def test_threads_that_find_the_token_stale_renew_it_once(server, client):
    server.on("POST", "/auth/token", tokens(1, expires_in=0), tokens(2), refusal(401, "invalid_grant"))
    client.login("a@b.example", "password")

    threads = [threading.Thread(target=client.me) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert bearers(server) == ["access-2"] * 8
    assert len(server.of("/auth/token")) == 2


def test_a_session_that_is_over_is_told(server, client):
    server.on("POST", "/auth/token", tokens(1, expires_in=0), refusal(401, "invalid_grant", "log in again"))
    client.login("a@b.example", "password")

    with pytest.raises(ArenaProblem, match="log in again") as caught:
        client.me()

    assert (caught.value.status, caught.value.code) == (401, "invalid_grant")


def test_a_token_given_from_outside_is_used_as_it_is(server, make_client):
    server.on("GET", "/agents/a1", refusal(401, "invalid_token"))

    with make_client(server.url, "arena_sk_1", workspace_id="w7") as client, pytest.raises(ArenaProblem) as caught:
        client.agents.get("a1")

    assert caught.value.code == "invalid_token"
    assert bearers(server, "/agents/a1") == ["arena_sk_1"]
    assert server.asked[0].headers["x-workspace-id"] == "w7"


def test_a_stream_renews_the_token_too(server, client):
    server.on("POST", "/auth/token", tokens(1), tokens(2))
    client.login("a@b.example", "password")
    ended = Stream([frame("1", "discussion.ended", end_reason="stopped")])
    server.on("GET", "/discussions/d1/events", refusal(401, "token_expired"), ended)

    assert [event.id for event in client.discussions.stream("d1")] == ["1"]
    assert bearers(server, "/discussions/d1/events") == ["access-1", "access-2"]


def test_a_logout_ends_the_session_and_its_tokens_are_forgotten(server, client):
    server.on("POST", "/auth/token", tokens(1))
    server.on("POST", "/auth/logout", Reply(b"", status=204))
    client.login("a@b.example", "password")

    client.logout()
    client.me()

    assert bearers(server, "/auth/logout") == ["access-1"]
    assert "authorization" not in server.of("/auth/me")[0].headers


def test_a_logout_that_did_not_happen_can_be_tried_again(server, client):
    server.on("POST", "/auth/token", tokens(1))
    server.on("POST", "/auth/logout", refusal(503, "unavailable"), Reply(b"", status=204))
    client.login("a@b.example", "password")

    with pytest.raises(ArenaProblem):
        client.logout()
    client.logout()

    assert bearers(server, "/auth/logout") == ["access-1", "access-1"]
