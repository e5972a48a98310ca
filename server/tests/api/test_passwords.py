"""New passwords: by who knows the present one, or by who reads the account's mail."""

import asyncio
import hashlib
import re
import secrets

import pytest
from pwdlib.hashers.argon2 import Argon2Hasher

from tests.fixtures.deadlines import eventually
from tests.fixtures.mail import smtp_settings, text_of, token_in
from tests.fixtures.people import PASSWORD, log_in
from tests.fixtures.problems import problem

pytestmark = pytest.mark.anyio

NEW = "nineteen orange giraffes"
CHANGE = "/api/v1/auth/password"
RESET = "/api/v1/auth/password-reset"
CONFIRM = f"{RESET}/confirm"


async def attempt(client, email, password):
    form = {"grant_type": "password", "username": email, "password": password}
    return await client.post("/api/v1/auth/token", data=form)


async def test_a_changed_password_is_the_one_to_log_in_with(owner, anonymous):
    response = await owner.http.post(CHANGE, json={"password": PASSWORD, "new_password": NEW})

    assert (response.status_code, response.content) == (204, b"")
    assert await log_in(anonymous, owner.email, NEW)
    problem(await attempt(anonymous, owner.email, PASSWORD), 401, "invalid_grant")


async def test_a_changed_password_ends_every_other_session_and_keeps_this_one(owner, stranger, anonymous, connect):
    others = [await log_in(anonymous, owner.email) for _ in range(2)]
    clients = [await connect(tokens["access_token"]) for tokens in others]
    for http in clients:
        assert (await http.get("/api/v1/auth/me")).status_code == 200

    await owner.http.post(CHANGE, json={"password": PASSWORD, "new_password": NEW})

    for http, tokens in zip(clients, others, strict=True):
        problem(await http.get("/api/v1/auth/me"), 401, "session_ended")
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        problem(await anonymous.post("/api/v1/auth/token", data=form), 401, "invalid_grant")
    assert (await owner.http.get("/api/v1/auth/me")).status_code == 200
    assert (await stranger.http.get("/api/v1/auth/me")).status_code == 200
    form = {"grant_type": "refresh_token", "refresh_token": owner.refresh_token}
    assert (await anonymous.post("/api/v1/auth/token", data=form)).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code", "place"),
    [
        ({"password": "not the password", "new_password": NEW}, 403, "wrong_password", None),
        ({"password": PASSWORD, "new_password": "password1234"}, 422, "weak_password", ["body", "new_password"]),
        ({"password": PASSWORD, "new_password": "discussionarena"}, 422, "weak_password", ["body", "new_password"]),
        ({"password": PASSWORD, "new_password": "short"}, 422, "validation_failed", ["body", "new_password"]),
        ({"password": PASSWORD, "new_password": "x" * 129}, 422, "validation_failed", ["body", "new_password"]),
        ({"password": "", "new_password": NEW}, 422, "validation_failed", ["body", "password"]),
        ({"password": None, "new_password": NEW}, 422, "validation_failed", ["body", "password"]),
        ({"new_password": NEW}, 422, "validation_failed", ["body", "password"]),
    ],
)
async def test_a_change_that_is_refused_changes_nothing(owner, anonymous, connect, body, status, code, place):
    other = await connect((await log_in(anonymous, owner.email))["access_token"])

    refused = problem(await owner.http.post(CHANGE, json=body), status, code)

    assert place is None or [fault["loc"] for fault in refused["errors"]] == [place]
    assert (await other.get("/api/v1/auth/me")).status_code == 200
    assert await log_in(anonymous, owner.email)


async def test_a_refusal_repeats_neither_password(owner):
    for body in ({"password": "hunter2-present", "new_password": NEW}, {"password": PASSWORD, "new_password": "h2"}):
        response = await owner.http.post(CHANGE, json=body)
        assert body["password"] not in response.text
        assert f'"{body["new_password"]}"' not in response.text


async def test_passwords_of_12_and_of_128_characters_are_taken(owner, anonymous):
    longest = "wqZ!7 " * 21 + "é€"
    assert len(longest) == 128

    assert (await owner.http.post(CHANGE, json={"password": PASSWORD, "new_password": longest})).status_code == 204
    assert (
        await owner.http.post(CHANGE, json={"password": longest, "new_password": "vX9!qkf-Lw2z"})
    ).status_code == 204

    assert await log_in(anonymous, owner.email, "vX9!qkf-Lw2z")
    problem(await attempt(anonymous, owner.email, longest), 401, "invalid_grant")


async def test_who_has_no_password_neither_logs_in_nor_changes_it(owner, anonymous, sql):
    sql("UPDATE users SET password_hash = NULL WHERE id = %s", owner.id)

    for password in (PASSWORD, "None", "null"):
        problem(await attempt(anonymous, owner.email, password), 401, "invalid_grant")
        refused = await owner.http.post(CHANGE, json={"password": password, "new_password": NEW})
        problem(refused, 403, "wrong_password")


async def test_a_hash_of_another_cost_is_renewed_by_a_login(owner, anonymous, sql):
    dated = "$argon2id$v=19$m=16,t=2,p=1$c29tZXNhbHRzb21l$"  # of another cost than the tests' own
    [(kept,)] = sql("SELECT password_hash FROM users WHERE id = %s", owner.id)
    other = Argon2Hasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
    assert other.startswith(dated.partition("$c29")[0])
    sql("UPDATE users SET password_hash = %s WHERE id = %s", other, owner.id)

    problem(await attempt(anonymous, owner.email, "not the password"), 401, "invalid_grant")
    assert sql("SELECT password_hash FROM users WHERE id = %s", owner.id) == [(other,)]
    await log_in(anonymous, owner.email)

    [(renewed,)] = sql("SELECT password_hash FROM users WHERE id = %s", owner.id)
    assert renewed.split("$")[:4] == kept.split("$")[:4]
    assert await log_in(anonymous, owner.email)


@pytest.fixture
def place(mailing_place):
    return mailing_place


@pytest.fixture
async def visitor(connect, place):
    """Somebody at an address of their own: resets are counted by it."""
    http = await connect(at=place)
    http.headers["X-Forwarded-For"] = f"2001:db8:{secrets.randbelow(65_536):x}:{secrets.randbelow(65_536):x}::1"
    return http


@pytest.fixture
def mailed(visitor, post_office):
    """Ask for a reset; the token of the mail that comes."""

    async def ask(person):
        before = len(post_office.to(person.email))
        assert (await visitor.post(RESET, json={"email": person.email})).status_code == 202
        return token_in(await post_office.next_to(person.email, before))

    return ask


async def confirm(visitor, token, password=NEW):
    return await visitor.post(CONFIRM, json={"token": token, "new_password": password})


async def test_a_token_of_the_mail_sets_a_new_password(person, visitor, mailed):
    token = await mailed(person)

    response = await confirm(visitor, token)

    assert (response.status_code, response.content) == (204, b"")
    assert await log_in(visitor, person.email, NEW)
    problem(await attempt(visitor, person.email, PASSWORD), 401, "invalid_grant")


async def test_the_mail_leads_to_the_pages_and_says_what_to_do(person, visitor, mailed, post_office):
    poison = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    await visitor.post(RESET, json={"email": person.email.upper()}, headers=poison)

    mail = await post_office.next_to(person.email)

    links = re.findall(r"https?://\S+", text_of(mail))
    assert links == [f"https://arena.example/app/reset-password#token={token_in(mail)}"]
    assert "30 minutes" in text_of(mail)
    assert "evil" not in mail.as_string()


async def test_without_a_public_address_the_mail_shows_the_token(make_arena, post_office, connect, owner):
    bare = make_arena(mail=smtp_settings(post_office))

    await (await connect(at=bare)).post(RESET, json={"email": owner.email})

    mail = await post_office.next_to(owner.email)
    assert "http" not in text_of(mail)
    assert (await confirm(await connect(at=bare), token_in(mail))).status_code == 204


async def test_the_answer_is_the_same_for_every_address(person, make_user, place, visitor, sql):
    disabled = await make_user(at=place)
    sql("UPDATE users SET disabled_at = now() WHERE id = %s", disabled.id)

    answers = [
        await visitor.post(RESET, json={"email": email})
        for email in (person.email, disabled.email, "nobody@arena.example")
    ]

    assert {(answer.status_code, answer.text) for answer in answers} == {(202, answers[0].text)}
    own_headers = {"x-request-id", "date", "ratelimit"}
    heads = [{name: value for name, value in answer.headers.items() if name not in own_headers} for answer in answers]
    assert heads[0] == heads[1] == heads[2]


async def test_no_mail_goes_to_who_may_not_log_in(person, make_user, place, visitor, post_office, mailed, sql):
    disabled = await make_user(at=place)
    sql("UPDATE users SET disabled_at = now() WHERE id = %s", disabled.id)

    for email in (disabled.email, "nobody@arena.example"):
        await visitor.post(RESET, json={"email": email})
    await mailed(person)  # which was asked for last

    assert {mail["To"] for mail in post_office.mails} == {person.email}


async def test_the_token_is_kept_only_as_a_digest(person, mailed, sql):
    token = await mailed(person)

    [(digest, row)] = sql("SELECT digest, r::text FROM password_resets r WHERE user_id = %s", person.id)
    assert digest == hashlib.sha256(token.encode()).digest()
    assert token not in row
    assert len(token) == 43, "32 random bytes"


async def test_neither_logs_nor_answers_hold_the_token(person, mailed, capfd, caplog):
    token = await mailed(person)

    shown = capfd.readouterr()
    assert token not in caplog.text
    assert token not in shown.err + shown.out


async def test_a_token_is_good_once(person, visitor, mailed):
    token = await mailed(person)
    assert (await confirm(visitor, token)).status_code == 204

    problem(await confirm(visitor, token, "twenty-one yellow hippos"), 422, "invalid_reset_token")

    assert await log_in(visitor, person.email, NEW)


async def test_a_use_takes_back_every_older_token(person, visitor, mailed):
    tokens = [await mailed(person) for _ in range(3)]
    assert (await confirm(visitor, tokens[1])).status_code == 204

    for token in tokens:
        problem(await confirm(visitor, token), 422, "invalid_reset_token")


async def test_a_changed_password_takes_back_every_token(person, visitor, mailed):
    token = await mailed(person)
    await person.http.post(CHANGE, json={"password": PASSWORD, "new_password": NEW})

    problem(await confirm(visitor, token, "twenty-one yellow hippos"), 422, "invalid_reset_token")


async def test_a_token_is_good_for_half_an_hour(person, visitor, mailed, sql):
    token = await mailed(person)
    [(seconds,)] = sql(
        "SELECT extract(epoch FROM expires_at - now())::int FROM password_resets WHERE user_id = %s", person.id
    )
    assert 1790 <= seconds <= 1800

    sql("UPDATE password_resets SET expires_at = now() WHERE user_id = %s", person.id)

    problem(await confirm(visitor, token), 422, "invalid_reset_token")


async def test_an_old_token_is_swept_away_by_the_next(person, mailed, sql):
    await mailed(person)
    sql("UPDATE password_resets SET expires_at = now() - interval '1 second' WHERE user_id = %s", person.id)

    await mailed(person)

    assert sql("SELECT count(*) FROM password_resets WHERE user_id = %s", person.id) == [(1,)]


async def test_nobody_fills_a_mailbox(person, make_user, place, visitor, mailed, post_office, sql):
    other = await make_user(at=place)
    for _ in range(5):
        await mailed(person)
    for _ in range(3):
        await visitor.post(RESET, json={"email": person.email})
    await mailed(other)  # which was asked for last

    assert len(post_office.to(person.email)) == 5
    assert sql("SELECT count(*) FROM password_resets WHERE user_id = %s", person.id) == [(5,)]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"token": None}, "validation_failed"),
        ({"token": ""}, "validation_failed"),
        ({}, "validation_failed"),
        ({"token": "\x00"}, "validation_failed"),
        ({"token": 0}, "validation_failed"),
        ({"token": []}, "validation_failed"),
        ({"token": {"$ne": None}}, "validation_failed"),
        ({"token": " "}, "invalid_reset_token"),
        ({"token": "null"}, "invalid_reset_token"),
        ({"token": "None"}, "invalid_reset_token"),
        ({"token": "%"}, "invalid_reset_token"),
        ({"token": "x" * 43}, "invalid_reset_token"),
    ],
)
async def test_a_null_reset_token_matches_nobody(person, visitor, mailed, sql, body, code):
    """Neither where a reset was asked for nor of the many who never did."""
    await mailed(person)
    before = sql("SELECT id, password_hash FROM users ORDER BY id")

    problem(await visitor.post(CONFIRM, json={"new_password": NEW, **body}), 422, code)

    assert sql("SELECT id, password_hash FROM users ORDER BY id") == before


async def test_a_weak_new_password_does_not_use_the_token_up(person, visitor, mailed):
    token = await mailed(person)

    refused = problem(await confirm(visitor, token, "password1234"), 422, "weak_password")

    assert refused["errors"][0]["loc"] == ["body", "new_password"]
    assert (await confirm(visitor, token)).status_code == 204


async def test_a_reset_ends_every_session_of_the_user_and_of_nobody_else(person, make_user, place, visitor, mailed):
    other = await make_user(at=place)
    assert (await person.http.get("/api/v1/auth/me")).status_code == 200

    await confirm(visitor, await mailed(person))

    problem(await person.http.get("/api/v1/auth/me"), 401, "session_ended")
    form = {"grant_type": "refresh_token", "refresh_token": person.refresh_token}
    problem(await visitor.post("/api/v1/auth/token", data=form), 401, "invalid_grant")
    assert (await other.http.get("/api/v1/auth/me")).status_code == 200


async def test_who_was_disabled_meanwhile_sets_no_password(person, visitor, mailed, sql):
    token = await mailed(person)
    sql("UPDATE users SET disabled_at = now() WHERE id = %s", person.id)

    problem(await confirm(visitor, token), 422, "invalid_reset_token")


async def test_who_never_had_a_password_gets_one_by_a_reset(person, visitor, mailed, sql):
    sql("UPDATE users SET password_hash = NULL WHERE id = %s", person.id)

    assert (await confirm(visitor, await mailed(person))).status_code == 204

    assert await log_in(visitor, person.email, NEW)


async def test_a_mail_server_that_is_busy_is_asked_again(person, mailed, post_office):
    post_office.replies = ["451 later"]

    await mailed(person)

    assert post_office.attempts == 2


async def test_the_answer_does_not_wait_for_the_mail(person, visitor, post_office):
    post_office.pause_seconds = 2

    async with asyncio.timeout(1):
        assert (await visitor.post(RESET, json={"email": person.email})).status_code == 202

    post_office.pause_seconds = 0
    await eventually(lambda: post_office.attempts, 5, "the mail")


@pytest.mark.parametrize("body", [{}, {"email": None}, {"email": ""}, {"email": "nobody"}, {"email": ["a@b.example"]}])
async def test_a_request_for_no_address_is_refused(visitor, body):
    problem(await visitor.post(RESET, json=body), 422, "validation_failed")
