"""Issuers of identities that misbehave: nobody gets in by what they say, and nothing breaks by it."""

import asyncio
import json
import time

import pytest

from app.core.oidc_issuer import MOST_ANSWER_BYTES
from tests.fixtures.oidc_provider import CLIENT_ID
from tests.fixtures.problems import problem

pytestmark = pytest.mark.anyio


@pytest.fixture
def nobody_gets_in(issuer, sql):
    yield
    assert sql("SELECT 1 FROM identities WHERE issuer = %s", issuer.url) == []


keeps_out = pytest.mark.usefixtures("nobody_gets_in")


@keeps_out
@pytest.mark.parametrize(
    "conduct",
    [
        {"sign": "none"},
        {"sign": "HS256 with the public key"},
        {"sign": "HS256 with the client's secret"},
        {"sign": "impostor"},
        {"sign": "garbage"},
        {"sign": "a key in its header"},
        {"sign": "rotated"},
        {"claims": {"nonce": "another"}},
        {"claims": {"nonce": None}},
        {"claims": {"nonce": ["another"]}},
        {"claims": {"aud": "another client"}},
        {"claims": {"aud": None}},
        {"claims": {"aud": []}},
        {"claims": {"aud": [CLIENT_ID, "another client"]}},
        {"claims": {"aud": [CLIENT_ID, "another client"], "azp": "another client"}},
        {"claims": {"azp": "another client"}},
        {"claims": {"iss": "https://another.example"}},
        {"claims": {"iss": None}},
        {"claims": {"sub": None}},
        {"claims": {"sub": ""}},
        {"claims": {"sub": 7}},
        {"claims": {"sub": "x" * 256}},
        {"claims": {"at_hash": "another"}},
        {"claims": {"at_hash": 7}},
        {"claims": {"exp": None}},
        {"claims": {"exp": "tomorrow"}},
        {"claims": {"iat": None}},
        {"times": {"exp": -31}},
        {"times": {"iat": 120}},
        {"times": {"nbf": 120}},
    ],
    ids=str,
)
async def test_an_id_token_that_does_not_hold_lets_nobody_in(browser, issuer, conduct):
    await issuer.behaves(**conduct)

    problem(await browser.log_in(), 401, "oidc_token_invalid")


@pytest.mark.parametrize(
    "conduct",
    [
        {"sign": "ES256"},
        {"sign": "PS256"},
        {"claims": {"aud": [CLIENT_ID]}},
        {"claims": {"aud": [CLIENT_ID, "another client"], "azp": CLIENT_ID}},
        {"claims": {"at_hash": None}},
        {"times": {"exp": -5}},
        {"more_keys": [{"kty": "AKP", "kid": "of tomorrow", "alg": "ML-DSA-44"}]},
        {"answer": {"session_state": "x"}},
        {"client_auth": "client_secret_post"},
    ],
    ids=str,
)
async def test_what_the_standard_allows_is_accepted(browser, issuer, conduct):
    await issuer.behaves(**conduct)

    answer = await browser.log_in()

    assert answer.status_code == 200, answer.text


async def test_a_public_client_shows_no_secret(make_site, open_browser, issuer):
    await issuer.behaves(client_auth="none")

    answer = await (await open_browser(make_site(oidc_client_secret=None))).log_in()

    assert answer.status_code == 200, answer.text


async def test_a_key_that_the_issuer_has_just_begun_to_use_is_asked_for(browser, issuer):
    assert (await browser.log_in()).status_code == 200
    await issuer.behaves(sign="rotated", rotated=True)

    assert (await browser.log_in()).status_code == 200

    assert len(await issuer.asked("jwks")) == 2
    assert len(await issuer.asked("discovery")) == 1


async def test_tokens_of_unknown_keys_do_not_make_us_ask_for_keys_each_time(browser, issuer):
    assert (await browser.log_in()).status_code == 200
    await issuer.behaves(sign="rotated")

    for _ in range(4):
        problem(await browser.log_in(), 401, "oidc_token_invalid")

    assert len(await issuer.asked("jwks")) == 2


async def test_an_address_that_is_told_only_when_asked_for_is_asked_for(browser, issuer):
    told = {name: issuer.person.pop(name) for name in ("email", "email_verified")}
    await issuer.behaves(userinfo_claims={"sub": issuer.person["sub"], **told})

    assert (await browser.log_in()).status_code == 200


@keeps_out
async def test_what_is_said_of_somebody_else_counts_for_nothing(browser, issuer):
    told = {name: issuer.person.pop(name) for name in ("email", "email_verified")}
    await issuer.behaves(userinfo_claims={"sub": "somebody else", **told})

    problem(await browser.log_in(), 401, "oidc_token_invalid")


@keeps_out
@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        ({"iss": "https://another.example"}, 401, "oidc_issuer_mismatch"),
        ({"iss": None}, 401, "oidc_issuer_mismatch"),
        ({"code": None, "error": "access_denied"}, 403, "oidc_access_denied"),
        ({"code": None, "error": "login_required"}, 403, "oidc_access_denied"),
        ({"code": None, "error": "server_error"}, 502, "oidc_issuer_failed"),
        ({"error": "access_denied"}, 403, "oidc_access_denied"),
        ({"code": None}, 502, "oidc_issuer_failed"),
        ({"code": "unknown"}, 401, "oidc_code_refused"),
    ],
    ids=str,
)
async def test_an_answer_that_is_no_login_lets_nobody_in(browser, issuer, answer, status, code):
    await issuer.behaves(answer=answer)

    problem(await browser.log_in(), status, code)


async def test_a_code_that_the_issuer_has_seen_before_is_refused(browser):
    first = await browser.at_the_issuer(await browser.begin())
    await browser.come_back(first)
    second = await browser.at_the_issuer(await browser.begin())

    problem(await browser.come_back(second | {"code": first["code"]}), 401, "oidc_code_refused")


METADATA = {"status": 302, "headers": {"Location": "http://169.254.169.254/latest/meta-data/"}}
TOO_LONG = {"status": 200, "body": '{"x": "' + "y" * MOST_ANSWER_BYTES + '"}'}


@keeps_out
@pytest.mark.parametrize(
    "conduct",
    [
        {"discovery": METADATA},
        {"discovery": {"status": 500}},
        {"discovery": {"status": 200, "body": "<html>"}},
        {"discovery": {"status": 200, "body": "[]"}},
        {"discovery": {"status": 200, "body": "\xff" * 10}},
        {"discovery": TOO_LONG},
        {"document": {"issuer": "https://another.example"}},
        {"document": {"issuer": None}},
        {"document": {"authorization_endpoint": "javascript:alert(1)"}},
        {"document": {"authorization_endpoint": None}},
        {"document": {"token_endpoint": 7}},
        {"document": {"jwks_uri": None}},
        {"document": {"jwks_uri": "file:///etc/passwd"}},
    ],
    ids=lambda conduct: str(conduct)[:60],
)
async def test_an_issuer_that_does_not_say_what_it_is_begins_no_login(browser, issuer, conduct):
    await issuer.behaves(**conduct)

    refused = problem(await browser.begin(), 502, "oidc_issuer_failed")

    assert "set-cookie" not in (await browser.begin()).headers
    for detail in ("169.254", "passwd", "another.example", "127.0.0.1"):
        assert detail not in str(refused)


@keeps_out
@pytest.mark.parametrize(
    "conduct",
    [
        *({place: fault} for place in ("token", "jwks") for fault in (METADATA, {"status": 500}, TOO_LONG)),
        {"token": {"status": 200, "body": "<html>"}},
        {"token": {"status": 400, "body": '{"error": "invalid_client"}'}},
        {"token": {"status": 400, "body": "no JSON"}},
        {"jwks": {"status": 200, "body": '{"keys": []}'}},
        {"jwks": {"status": 200, "body": '{"keys": 7}'}},
        {"jwks": {"status": 200, "body": '{"keys": [{"kty": "RSA", "n": "x"}]}'}},
        {"document": {"token_endpoint": "http://169.254.169.254/latest"}},
        {"document": {"token_endpoint": "http://127.0.0.1:1/token"}},
        {"document": {"jwks_uri": "http://[::ffff:169.254.169.254]/"}},
        {"document": {"jwks_uri": "http://localhost:1/"}},
    ],
    ids=lambda conduct: str(conduct)[:60],
)
async def test_an_issuer_that_fails_halfway_lets_nobody_in(browser, issuer, conduct):
    await issuer.behaves(**conduct)

    problem(await browser.log_in(), 502, "oidc_issuer_failed")


@keeps_out
@pytest.mark.parametrize("token", [None, 7, {"a": 1}, "é", "a.b.c", ""])
async def test_an_answer_without_an_id_token_lets_nobody_in(browser, issuer, token):
    await issuer.behaves(token={"status": 200, "body": json.dumps({"id_token": token})})

    problem(await browser.log_in(), 401, "oidc_token_invalid")


@keeps_out
@pytest.mark.parametrize("place", ["discovery", "token", "jwks"])
async def test_a_slow_issuer_is_given_up(make_site, open_browser, issuer, place):
    browser = await open_browser(make_site(outgoing={"outgoing_seconds": 0.5}))
    await issuer.behaves(**{place: {"seconds": 6}})
    began = time.monotonic()

    answer = await (browser.begin() if place == "discovery" else browser.log_in())

    problem(answer, 502, "oidc_issuer_failed")
    assert time.monotonic() - began < 5


@keeps_out
async def test_many_who_wait_for_a_slow_issuer_wait_together(make_site, open_browser, issuer):
    browser = await open_browser(make_site(outgoing={"outgoing_seconds": 0.5}))
    await issuer.behaves(discovery={"seconds": 6})
    began = time.monotonic()

    answers = await asyncio.gather(*(browser.begin() for _ in range(10)))

    assert {answer.status_code for answer in answers} == {502}
    assert time.monotonic() - began < 5
    assert len(await issuer.asked("discovery")) == 1


async def test_an_issuer_that_recovers_is_asked_again_at_once(browser, issuer):
    await issuer.behaves(discovery={"status": 500})
    problem(await browser.begin(), 502, "oidc_issuer_failed")
    await issuer.behaves(discovery=None)

    assert (await browser.log_in()).status_code == 200


@keeps_out
async def test_nothing_listens_where_the_issuer_should_be(make_site, open_browser):
    browser = await open_browser(make_site(oidc_issuer="http://127.0.0.1:1/nobody"))

    problem(await browser.begin(), 502, "oidc_issuer_failed")
