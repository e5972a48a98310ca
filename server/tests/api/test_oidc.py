"""Login at an issuer of identities: who gets in, as whom, and how often."""

import asyncio
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from app.core.security import digest_of
from tests.fixtures.oidc import CALLBACK, CHALLENGE, FRONTEND, LOGIN, VERIFIER
from tests.fixtures.people import PASSWORD, log_in
from tests.fixtures.problems import problem

pytestmark = pytest.mark.anyio

ME = "/api/v1/auth/me"
LINK = "/api/v1/auth/oidc/link"


async def trade(http, code, verifier=VERIFIER, **changes):
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier} | changes
    return await http.post("/api/v1/auth/token", data={name: value for name, value in form.items() if value})


async def who(connect, site, tokens):
    me = await (await connect(tokens["access_token"], at=site)).get(ME)
    assert me.status_code == 200
    return me.json()


async def registered(http, email):
    body = {"email": email, "password": PASSWORD, "display_name": "Was Here First"}
    answer = await http.post("/api/v1/auth/register", json=body)
    assert answer.status_code == 201
    return answer.json()


async def test_somebody_new_gets_an_account_and_comes_back_to_it(browser, issuer, connect, site, sql):
    first = await browser.log_in()
    again = await browser.log_in()

    assert (first.status_code, first.headers["Cache-Control"]) == (200, "no-store")
    assert first.headers["Referrer-Policy"] == "no-referrer"
    user = await who(connect, site, first.json())
    assert (user["email"], user["display_name"]) == (issuer.person["email"].lower(), "Known Person")
    assert [workspace["role"] for workspace in user["workspaces"]] == ["owner"]
    assert (await who(connect, site, again.json()))["id"] == user["id"]
    assert sql("SELECT password_hash FROM users WHERE id = %s", user["id"]) == [(None,)]
    assert sql("SELECT issuer, subject FROM identities WHERE user_id = %s", user["id"]) == [
        (issuer.url, issuer.person["sub"])
    ]


async def test_the_session_is_like_any_other(browser, connect, site):
    tokens = (await browser.log_in()).json()
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}

    refreshed = await browser.http.post("/api/v1/auth/token", data=form)

    assert refreshed.status_code == 200
    http = await connect(refreshed.json()["access_token"], at=site)
    assert (await http.post("/api/v1/auth/logout")).status_code == 204
    problem(await http.get(ME), 401, "session_ended")


async def test_the_issuer_is_asked_for_a_code_bound_to_this_login(browser, issuer, sql):
    begun = await browser.begin()

    asked = parse_qs(urlsplit(begun.headers["location"]).query)
    assert asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["scope"] == ["openid email profile"]
    [row] = sql("SELECT l::text, nonce FROM oidc_logins l WHERE digest = %s", digest_of(asked["state"][0]))
    assert asked["state"][0] not in row[0]
    assert asked["nonce"] == [row[1]]
    assert browser.http.cookies["arena-oidc"] not in row[0]
    await browser.come_back(await browser.at_the_issuer(begun))
    [exchanged] = await issuer.asked("token")
    assert exchanged["code_verifier"] not in row[0]


async def test_the_cookie_of_a_login_is_for_this_browser_and_host_alone(make_site, open_browser):
    over_tls = await open_browser(make_site(oidc_redirect_url=f"https://arena.example{CALLBACK}"))
    on_loopback = await open_browser(make_site())

    [secure] = (await over_tls.begin()).headers.get_list("set-cookie")
    [plain] = (await on_loopback.begin()).headers.get_list("set-cookie")

    name, *attributes = secure.split("; ")
    assert name.startswith("__Host-arena-oidc=")
    assert {one.lower() for one in attributes} == {"httponly", "max-age=600", "path=/", "samesite=lax", "secure"}
    name, *attributes = plain.split("; ")
    assert name.startswith("arena-oidc=")
    assert {one.lower() for one in attributes} == {"httponly", "max-age=600", "path=/", "samesite=lax"}


async def test_over_tls_a_cookie_that_a_neighbour_may_have_set_counts_for_nothing(make_site, open_browser):
    browser = await open_browser(make_site(oidc_redirect_url=f"https://arena.example{CALLBACK}"))
    begun = await browser.begin()
    secret = begun.headers["set-cookie"].partition("=")[2].partition(";")[0]
    answer = await browser.at_the_issuer(begun)

    browser.http.cookies.clear()
    browser.http.headers["Cookie"] = f"arena-oidc={secret}"
    problem(await browser.come_back(answer), 401, "oidc_state_invalid")
    browser.http.headers["Cookie"] = f"__Host-arena-oidc={secret}"
    assert (await browser.come_back(answer)).status_code == 200


async def test_login_csrf_an_answer_counts_only_in_the_browser_that_asked(open_browser, site, sql):
    attacker, victim = await open_browser(site), await open_browser(site)
    answer = await attacker.at_the_issuer(await attacker.begin())

    problem(await victim.come_back(answer), 401, "oidc_state_invalid")
    await victim.begin()
    problem(await victim.come_back(answer), 401, "oidc_state_invalid")
    victim.http.cookies.clear()
    victim.http.headers["Cookie"] = "arena-oidc="
    problem(await victim.come_back(answer), 401, "oidc_state_invalid")

    assert (await attacker.come_back(answer)).status_code == 200


async def test_an_answer_counts_once(browser, issuer):
    answer = await browser.at_the_issuer(await browser.begin())

    answers = await asyncio.gather(*(browser.come_back(answer) for _ in range(4)))

    assert sorted(one.status_code for one in answers) == [200, 401, 401, 401]
    problem(next(one for one in answers if one.status_code == 401), 401, "oidc_state_invalid")
    assert len(await issuer.asked("token")) == 1


async def test_two_logins_of_one_browser_do_not_disturb_each_other(browser):
    first, second = await browser.begin(), await browser.begin()

    for begun in (first, second):
        assert (await browser.come_back(await browser.at_the_issuer(begun))).status_code == 200


async def test_a_code_of_one_login_does_not_finish_another(browser):
    first, second = [await browser.at_the_issuer(await browser.begin()) for _ in range(2)]

    mixed = {**second, "code": first["code"]}  # its verifier is the first one's

    problem(await browser.come_back(mixed), 401, "oidc_code_refused")


async def test_an_answer_that_comes_too_late_is_refused(browser, sql):
    answer = await browser.at_the_issuer(await browser.begin())
    sql("UPDATE oidc_logins SET expires_at = now() WHERE digest = %s", digest_of(answer["state"]))

    problem(await browser.come_back(answer), 401, "oidc_state_invalid")


@pytest.mark.parametrize("change", [{"state": "x" * 43}, {"state": ""}, {"state": "a\x00b"}])
async def test_an_answer_to_no_login_is_refused(browser, change):
    answer = await browser.at_the_issuer(await browser.begin())

    refused = await browser.come_back(answer | change)

    assert (refused.status_code, refused.json()["code"]) in {(401, "oidc_state_invalid"), (422, "validation_failed")}


async def test_a_frontend_gets_a_code_that_it_trades_once(browser, connect, site, issuer, sql):
    told = await browser.log_in_for_frontend()
    frontend = await connect(at=site)

    assert set(told) == {"code"}
    assert told["code"] not in str(sql("SELECT c::text FROM login_codes c"))
    traded = await trade(frontend, told["code"])

    assert (traded.status_code, traded.headers["Cache-Control"]) == (200, "no-store")
    assert (await who(connect, site, traded.json()))["email"] == issuer.person["email"].lower()
    problem(await trade(frontend, told["code"]), 401, "invalid_grant")


async def test_a_code_is_worth_nothing_to_who_has_not_the_verifier(browser, anonymous):
    told = await browser.log_in_for_frontend()

    for verifier in ("x" * 43, CHALLENGE, "short", "é" * 43, VERIFIER + "x"):
        problem(await trade(anonymous, told["code"], verifier), 401, "invalid_grant")
    problem(await trade(anonymous, told["code"], None), 422, "validation_failed")
    problem(await trade(anonymous, "x" * 43), 401, "invalid_grant")

    assert (await trade(anonymous, told["code"])).status_code == 200


async def test_a_code_traded_by_many_at_once_opens_one_session(browser):
    told = await browser.log_in_for_frontend()

    answers = await asyncio.gather(*(trade(browser.http, told["code"]) for _ in range(4)))

    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]


async def test_a_code_lasts_a_minute(browser, sql):
    told = await browser.log_in_for_frontend()
    [(seconds,)] = sql(
        "SELECT extract(epoch FROM expires_at - now()) FROM login_codes WHERE digest = %s", digest_of(told["code"])
    )
    assert 50 < seconds <= 60

    sql("UPDATE login_codes SET expires_at = now() WHERE digest = %s", digest_of(told["code"]))

    problem(await trade(browser.http, told["code"]), 401, "invalid_grant")


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        f"{FRONTEND}/",
        f"{FRONTEND}?x=1",
        f"{FRONTEND}#x",
        f"{FRONTEND}.evil.example",
        f"{FRONTEND}/../../other",
        "https://app.example@evil.example/after-login",
        "https://app.example\\@evil.example/after-login",
        "//app.example/after-login",
        "/after-login",
        "HTTPS://APP.EXAMPLE/after-login",
        "javascript:alert(1)",
        " " + FRONTEND,
        "",
    ],
)
async def test_open_redirect_a_login_returns_to_no_other_address(browser, issuer, address):
    problem(await browser.begin(return_to=address, code_challenge=CHALLENGE), 422, "return_to_refused")

    assert await issuer.asked("authorize") == []


async def test_a_frontend_has_to_bind_its_login_to_itself(browser):
    problem(await browser.begin(return_to=FRONTEND), 422, "code_challenge_needed")
    for challenge in ("x", VERIFIER * 2, CHALLENGE[:-1], "+" * 43, ""):
        problem(await browser.begin(return_to=FRONTEND, code_challenge=challenge), 422, "validation_failed")


async def test_without_return_urls_no_frontend_is_returned_to(make_site, open_browser):
    browser = await open_browser(make_site(oidc_return_urls=None))

    problem(await browser.begin(return_to=FRONTEND, code_challenge=CHALLENGE), 422, "return_to_refused")
    problem(await browser.begin(return_to="", code_challenge=CHALLENGE), 422, "return_to_refused")


async def test_an_account_that_was_there_before_is_neither_taken_over_nor_takes_over(
    browser, issuer, anonymous, connect, site, sql
):
    stranger = await registered(anonymous, issuer.person["email"])

    problem(await browser.log_in(), 409, "email_taken")

    assert sql("SELECT 1 FROM identities WHERE issuer = %s", issuer.url) == []
    assert (await who(connect, site, await log_in(anonymous, issuer.person["email"])))["id"] == stranger["id"]


@pytest.mark.parametrize("verified", [False, None, "true", 1])
async def test_nobody_gets_an_account_for_an_address_that_is_not_theirs_for_sure(browser, issuer, sql, verified):
    issuer.person["email_verified"] = verified
    await issuer.behaves()

    problem(await browser.log_in(), 403, "email_not_verified")

    assert sql("SELECT 1 FROM users WHERE email = %s", issuer.person["email"].lower()) == []


@pytest.mark.parametrize(
    "email", ["not an address", "", "a@b\x00.example", "x" * 300 + "@a.example", 7, ["a@b.example"]]
)
async def test_an_address_that_is_none_makes_no_account(browser, issuer, sql, email):
    issuer.person["email"] = email
    await issuer.behaves()

    refused = await browser.log_in()

    assert (refused.status_code, refused.json()["code"]) in {(401, "oidc_token_invalid"), (403, "email_not_verified")}
    assert sql("SELECT 1 FROM identities WHERE issuer = %s", issuer.url) == []


async def test_another_persons_address_opens_another_account_not_theirs(browser, issuer, connect, site):
    first = await who(connect, site, (await browser.log_in()).json())

    issuer.person |= {"sub": "somebody else"}
    await issuer.behaves()
    problem(await browser.log_in(), 409, "email_taken")
    issuer.person |= {"email": f"other-{uuid4().hex}@issuer.example"}
    await issuer.behaves()

    assert (await who(connect, site, (await browser.log_in()).json()))["id"] != first["id"]


async def test_a_person_is_known_by_the_subject_whatever_becomes_of_the_address(browser, issuer, connect, site):
    first = await who(connect, site, (await browser.log_in()).json())

    issuer.person |= {"email": "changed@issuer.example", "email_verified": False, "name": None}
    await issuer.behaves()

    assert await who(connect, site, (await browser.log_in()).json()) == first


@pytest.mark.parametrize("name", [None, "", "two\nlines", "\u202egnissim", "x" * 500, 7, {"a": 1}, " Ada "])
async def test_whatever_name_the_issuer_gives_one_that_can_be_shown_is_kept(browser, issuer, connect, site, name):
    issuer.person["name"] = name
    await issuer.behaves()

    user = await who(connect, site, (await browser.log_in()).json())

    assert user["display_name"] in {"New user", "Ada"}


async def test_many_first_logins_of_one_person_at_once_make_one_account(open_browser, site, issuer, connect, sql):
    browsers = [await open_browser(site) for _ in range(4)]
    answers = [await one.at_the_issuer(await one.begin()) for one in browsers]

    came = await asyncio.gather(*(one.come_back(answer) for one, answer in zip(browsers, answers, strict=True)))

    assert [one.status_code for one in came] == [200] * 4
    assert len({(await who(connect, site, one.json()))["id"] for one in came}) == 1
    assert len(sql("SELECT 1 FROM users WHERE email = %s", issuer.person["email"].lower())) == 1


@pytest.mark.parametrize(
    ("registration", "oidc_registration", "status"),
    [("closed", None, 403), ("open", None, 200), ("closed", "open", 200), ("open", "closed", 403)],
)
async def test_who_is_new_gets_an_account_only_where_the_operator_wants_it(
    make_site, open_browser, registration, oidc_registration, status
):
    site = make_site(auth={"registration": registration}, oidc_registration=oidc_registration)

    answer = await (await open_browser(site)).log_in()

    assert answer.status_code == status
    if status == 403:
        problem(answer, 403, "registration_closed")


async def test_a_disabled_account_is_refused(browser, issuer, sql):
    told = await browser.log_in_for_frontend()
    sql("UPDATE users SET disabled_at = now() WHERE email = %s", issuer.person["email"].lower())

    problem(await trade(browser.http, told["code"]), 401, "invalid_grant")
    problem(await browser.log_in(), 403, "account_disabled")


async def test_an_account_without_a_password_cannot_be_logged_in_to_with_one(browser, issuer):
    await browser.log_in()

    for password in ("", " ", "None", "null", PASSWORD):
        form = {"grant_type": "password", "username": issuer.person["email"], "password": password}
        assert (await browser.http.post("/api/v1/auth/token", data=form)).status_code in {401, 422}


@pytest.fixture
def session_of(site, connect, owner):
    """The owner, with a session in a browser at the site."""

    async def open_one(browser):
        tokens = await log_in(browser.http, owner.email)
        return {"Authorization": f"Bearer {tokens['access_token']}"}

    return open_one


async def begin_link(browser, headers, **body):
    return await browser.http.post(LINK, json={"password": PASSWORD, **body}, headers=headers)


async def test_an_identity_is_linked_from_a_session_and_logs_in_from_then_on(
    browser, owner, connect, site, issuer, session_of
):
    headers = await session_of(browser)
    begun = await begin_link(browser, headers)
    assert (begun.status_code, begun.headers["Cache-Control"]) == (200, "no-store")

    linked = await browser.come_back(await browser.log_in_at(begun.json()["authorization_url"]))

    assert linked.status_code == 204
    assert (await who(connect, site, (await browser.log_in()).json()))["id"] == owner.id
    [link] = (await browser.http.get(LINK, headers=headers)).json()["items"]
    assert (link["issuer"], link["subject"]) == (issuer.url, issuer.person["sub"])


async def test_linking_returns_to_a_frontend(browser, session_of):
    headers = await session_of(browser)
    problem(await begin_link(browser, headers, return_to="https://evil.example/"), 422, "return_to_refused")
    begun = await begin_link(browser, headers, return_to=FRONTEND)

    linked = await browser.come_back(await browser.log_in_at(begun.json()["authorization_url"]))

    assert (linked.status_code, linked.headers["location"]) == (303, f"{FRONTEND}?linked=true")


async def test_a_stolen_access_token_links_no_identity(browser, owner, session_of, sql):
    headers = await session_of(browser)

    needed = await browser.http.post(LINK, json={}, headers=headers)

    assert problem(needed, 422, "password_needed")["errors"][0]["loc"] == ["body", "password"]
    problem(await begin_link(browser, headers, password="a guess at the password"), 403, "wrong_password")
    begun = "SELECT 1 FROM oidc_logins WHERE session_id IN (SELECT id FROM sessions WHERE user_id = %s)"
    assert sql(begun, owner.id) == []


async def test_an_account_without_a_password_links_without_one(browser, issuer):
    tokens = (await browser.log_in()).json()
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}

    begun = await browser.http.post(LINK, json={}, headers=headers)

    assert begun.status_code == 200, begun.text
    linked = await browser.come_back(await browser.log_in_at(begun.json()["authorization_url"]))
    assert linked.status_code == 204


async def test_nobody_is_led_to_link_their_identity_to_anothers_account(open_browser, site, issuer, session_of, sql):
    attacker, victim = await open_browser(site), await open_browser(site)
    begun = await begin_link(attacker, await session_of(attacker))
    await victim.begin()  # so it has a cookie, and one of its own

    answer = await victim.log_in_at(begun.json()["authorization_url"])

    problem(await victim.come_back(answer), 401, "oidc_state_invalid")
    assert sql("SELECT 1 FROM identities WHERE issuer = %s", issuer.url) == []


async def test_an_identity_of_another_account_is_not_linked(browser, issuer, session_of, sql):
    await browser.log_in()
    before = sql("SELECT user_id FROM identities WHERE issuer = %s", issuer.url)
    begun = await begin_link(browser, await session_of(browser))

    refused = await browser.come_back(await browser.log_in_at(begun.json()["authorization_url"]))

    problem(refused, 409, "identity_taken")
    assert sql("SELECT user_id FROM identities WHERE issuer = %s", issuer.url) == before


async def test_linking_ends_with_the_session_that_began_it(browser, issuer, session_of, sql):
    headers = await session_of(browser)
    begun = await begin_link(browser, headers)
    answer = await browser.log_in_at(begun.json()["authorization_url"])

    await browser.http.post("/api/v1/auth/logout", headers=headers)

    problem(await browser.come_back(answer), 401, "session_ended")
    assert sql("SELECT 1 FROM identities WHERE issuer = %s", issuer.url) == []


async def test_no_key_links_an_identity(browser, make_key):
    key = await make_key()

    for method in ("POST", "GET", "DELETE"):
        body = {} if method == "POST" else None
        headers = {"Authorization": f"Bearer {key['key']}"}
        answer = await browser.http.request(method, LINK, json=body, headers=headers)
        problem(answer, 403, "insufficient_scope")


async def test_a_link_is_taken_away_unless_it_is_the_only_way_in(browser, connect, site, session_of):
    headers = await session_of(browser)
    begun = await begin_link(browser, headers)
    await browser.come_back(await browser.log_in_at(begun.json()["authorization_url"]))

    assert (await browser.http.delete(LINK, headers=headers)).status_code == 204
    problem(await browser.http.delete(LINK, headers=headers), 404, "not_found")

    newcomer = await connect((await browser.log_in()).json()["access_token"], at=site)
    problem(await newcomer.delete(LINK), 409, "only_way_in")
    assert (await browser.log_in()).status_code == 200


async def test_what_a_login_page_needs_is_told(browser, anonymous, issuer):
    told = (await browser.http.get("/api/v1/auth/oidc/issuers")).json()
    nobody = await anonymous.get("/api/v1/auth/oidc/issuers")

    login_url = f"http://127.0.0.1{LOGIN}"
    assert told["items"] == [{"name": "Single sign-on", "issuer": issuer.url, "login_url": login_url}]
    assert nobody.json() == {"items": [], "next_cursor": None}


async def test_where_no_issuer_is_trusted_there_is_no_login(anonymous, client):
    problem(await anonymous.get(LOGIN), 404, "oidc_not_configured")
    problem(await anonymous.get(CALLBACK, params={"state": "x", "code": "y"}), 404, "oidc_not_configured")
    problem(await client.post(LINK, json={}), 404, "oidc_not_configured")
    problem(await trade(anonymous, "x" * 43), 401, "invalid_grant")


@pytest.fixture
def logins_told(sql, every_failure_is_told):
    """What the audit log has of the logins of one request."""
    query = "SELECT action, user_id::text, detail FROM audit_events WHERE request_id = %s AND action LIKE 'login.%%'"
    return lambda answer: sql(query, answer.headers["X-Request-ID"])


async def test_the_audit_log_tells_that_the_issuer_let_in(browser, logins_told, connect, site):
    answer = await browser.log_in()

    user = await who(connect, site, answer.json())
    assert logins_told(answer) == [("login.succeeded", user["id"], {"method": "oidc"})]


async def test_the_audit_log_tells_of_logins_that_failed_in_no_words_of_the_issuers(browser, issuer, logins_told):
    declined = await browser.at_the_issuer(await browser.begin())
    del declined["code"]
    answer = await browser.come_back({**declined, "error": "access_denied", "error_description": "words"})
    problem(answer, 403, "oidc_access_denied")
    assert logins_told(answer) == [("login.failed", None, {"reason": "oidc_access_denied"})]

    await issuer.behaves(sign="impostor")
    answer = await browser.log_in()
    assert logins_told(answer) == [
        ("login.failed", None, {"reason": problem(answer, 401, "oidc_token_invalid")["code"]})
    ]


async def test_the_audit_log_tells_whose_disabled_account_was_tried(browser, issuer, logins_told, sql):
    told = await browser.log_in_for_frontend()
    where = "WHERE email = %s RETURNING id::text"
    [(user_id,)] = sql(f"UPDATE users SET disabled_at = now() {where}", issuer.person["email"].lower())

    for answer in (await trade(browser.http, told["code"]), await browser.log_in()):
        assert logins_told(answer) == [("login.failed", user_id, {"reason": "account_disabled"})]
    unknown = await trade(browser.http, "a code that nobody was given")
    assert logins_told(unknown) == [("login.failed", None, {"reason": "invalid_grant"})]
