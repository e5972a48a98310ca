"""The second factor: begun with the password, counted once confirmed, good once a code, and never told of too early."""

import hashlib
import time

import pyotp
import pytest

from tests.fixtures.mail import token_in
from tests.fixtures.people import PASSWORD, log_in
from tests.fixtures.problems import problem

pytestmark = pytest.mark.anyio

TOTP = "/api/v1/auth/totp"
RECOVERY = "/api/v1/auth/recovery-codes"


@pytest.fixture
def forget_used_codes(sql):
    """As if time had passed: codes of the present step are good again."""
    return lambda person: sql("UPDATE users SET totp_last_step = NULL WHERE id = %s", person.id)


class Authenticator:
    """A person's, and their recovery codes."""

    def __init__(self, secret, recovery_codes, forget):
        self.secret = secret
        self.recovery_codes = recovery_codes
        self._forget = forget

    def code(self, aside=0):
        """A code that was not used yet; `aside` steps from the present one."""
        self._forget()
        return self.same_code(aside)

    def same_code(self, aside=0):
        return pyotp.TOTP(self.secret).at(time.time(), counter_offset=aside)


@pytest.fixture
def enrol(forget_used_codes):
    async def begin_and_confirm(person):
        begun = await person.http.post(TOTP, json={"password": PASSWORD})
        assert begun.status_code == 201, begun.text
        secret = begun.json()["secret"]
        confirmed = await person.http.post(f"{TOTP}/confirm", json={"code": pyotp.TOTP(secret).now()})
        assert confirmed.status_code == 200, confirmed.text
        return Authenticator(secret, confirmed.json()["recovery_codes"], lambda: forget_used_codes(person))

    return begin_and_confirm


@pytest.fixture
async def authenticator(owner, enrol):
    return await enrol(owner)


async def attempt(client, person, totp=None, password=PASSWORD, **form):
    form = {"grant_type": "password", "username": person.email, "password": password, **form}
    return await client.post("/api/v1/auth/token", data=form if totp is None else {**form, "totp": totp})


async def test_a_login_takes_the_password_and_a_code(owner, anonymous, authenticator):
    response = await attempt(anonymous, owner, authenticator.code())

    assert response.status_code == 200
    assert response.json()["refresh_token"]


@pytest.mark.parametrize("totp", [None, ""])
async def test_the_password_alone_is_not_enough(owner, anonymous, authenticator, sql, totp):
    before = sql("SELECT count(*) FROM sessions WHERE user_id = %s", owner.id)

    refused = await attempt(anonymous, owner, totp)

    problem(refused, 401, "totp_required")
    assert sql("SELECT count(*) FROM sessions WHERE user_id = %s", owner.id) == before


async def test_before_the_right_password_nothing_tells_of_a_second_factor(
    owner, stranger, anonymous, authenticator, sql
):
    """Not even the right code, nor an account that is disabled."""

    def told(response):
        body = problem(response, 401, "invalid_grant")
        return {name: value for name, value in body.items() if name != "request_id"}

    for totp in (None, "000000"):
        with_factor = told(await attempt(anonymous, owner, totp, "not the password"))
        assert with_factor == told(await attempt(anonymous, stranger, totp, "not the password"))
    right_code = told(await attempt(anonymous, owner, authenticator.code(), "not the password"))
    assert right_code == with_factor
    assert (await attempt(anonymous, owner, authenticator.same_code())).status_code == 200, "the code was not used up"
    sql("UPDATE users SET disabled_at = now() WHERE id = %s", owner.id)
    assert told(await attempt(anonymous, owner, authenticator.code())) == with_factor


@pytest.mark.parametrize("code", ["000000", "12345", "x", " ", "null", "0" * 64])
async def test_a_wrong_code_is_refused_like_a_wrong_password(owner, anonymous, authenticator, code):
    assert code != authenticator.same_code()

    body = problem(await attempt(anonymous, owner, code), 401, "invalid_grant")

    assert body["detail"] == "the address, the password or the code is wrong"


async def test_a_code_is_good_once(owner, anonymous, authenticator):
    code = authenticator.code()
    assert (await attempt(anonymous, owner, code)).status_code == 200

    problem(await attempt(anonymous, owner, code), 401, "invalid_grant")


async def test_the_code_that_confirmed_logs_nobody_in(owner, anonymous, enrol):
    authenticator = await enrol(owner)

    problem(await attempt(anonymous, owner, authenticator.same_code()), 401, "invalid_grant")


async def test_after_a_code_none_of_an_earlier_step_is_good(owner, anonymous, authenticator):
    newer, older = authenticator.code(1), authenticator.same_code(0)
    assert (await attempt(anonymous, owner, newer)).status_code == 200

    problem(await attempt(anonymous, owner, older), 401, "invalid_grant")


@pytest.mark.parametrize("aside", [-3, 3])
async def test_a_code_of_another_time_is_refused(owner, anonymous, authenticator, aside):
    problem(await attempt(anonymous, owner, authenticator.code(aside)), 401, "invalid_grant")


async def test_a_secret_that_was_not_confirmed_changes_no_login(owner, anonymous):
    await owner.http.post(TOTP, json={"password": PASSWORD})

    assert await log_in(anonymous, owner.email)
    assert (await owner.http.get(TOTP)).json() == {"is_confirmed": False, "recovery_codes_left": 0}


async def test_a_secret_that_is_begun_anew_replaces_the_one_before(owner):
    first, second = [(await owner.http.post(TOTP, json={"password": PASSWORD})).json()["secret"] for _ in range(2)]

    problem(await owner.http.post(f"{TOTP}/confirm", json={"code": pyotp.TOTP(first).now()}), 403, "wrong_code")
    confirmed = await owner.http.post(f"{TOTP}/confirm", json={"code": pyotp.TOTP(second).now()})

    assert confirmed.status_code == 200


async def test_a_secret_comes_with_its_address_for_authenticators(owner):
    response = await owner.http.post(TOTP, json={"password": PASSWORD})

    body = response.json()
    assert set(body) == {"secret", "uri"}
    assert pyotp.parse_uri(body["uri"]).secret == body["secret"]
    assert pyotp.parse_uri(body["uri"]).name == owner.email
    assert response.headers["Cache-Control"] == "no-store"


async def test_without_the_password_no_factor_is_begun(owner, sql):
    problem(await owner.http.post(TOTP, json={"password": "not the password"}), 403, "wrong_password")

    assert sql("SELECT totp_secret_sealed FROM users WHERE id = %s", owner.id) == [(None,)]


async def test_a_factor_that_counts_is_not_replaced(owner, authenticator, anonymous):
    problem(await owner.http.post(TOTP, json={"password": PASSWORD}), 409, "second_factor_exists")

    assert (await attempt(anonymous, owner, authenticator.code())).status_code == 200


async def test_what_was_never_begun_is_not_confirmed(owner):
    problem(await owner.http.post(f"{TOTP}/confirm", json={"code": "000000"}), 409, "no_second_factor")


async def test_what_counts_is_not_confirmed_again(owner, authenticator):
    refused = await owner.http.post(f"{TOTP}/confirm", json={"code": authenticator.code()})

    problem(refused, 409, "no_second_factor")


async def test_the_secret_is_kept_sealed_and_for_this_row_only(owner, stranger, anonymous, enrol, sql):
    authenticator = await enrol(owner)
    await enrol(stranger)
    [(sealed, row)] = sql("SELECT totp_secret_sealed, u::text FROM users u WHERE id = %s", owner.id)

    assert authenticator.secret not in row
    assert authenticator.secret.encode() not in sealed
    assert pyotp.TOTP(authenticator.secret).byte_secret() not in sealed
    sql("UPDATE users SET totp_secret_sealed = %s, totp_last_step = NULL WHERE id = %s", sealed, stranger.id)
    moved = await anonymous.post(
        "/api/v1/auth/token",
        data={
            **{"grant_type": "password", "username": stranger.email, "password": PASSWORD},
            **{"totp": authenticator.same_code()},
        },
    )
    assert moved.status_code == 500, "another's secret in its place opens nothing"


async def test_recovery_codes_are_ten_shown_once_and_kept_as_digests(owner, authenticator, sql):
    codes = authenticator.recovery_codes
    rows = sql("SELECT digest, r::text FROM recovery_codes r WHERE user_id = %s", owner.id)

    assert len(set(codes)) == 10
    wanted = {hashlib.sha256(code.replace("-", "").encode()).digest() for code in codes}
    assert {digest for digest, _ in rows} == wanted
    assert (await owner.http.get(TOTP)).json() == {"is_confirmed": True, "recovery_codes_left": 10}


async def test_a_recovery_code_stands_in_for_a_code_once(owner, anonymous, authenticator):
    code = authenticator.recovery_codes[3]

    assert (await attempt(anonymous, owner, code.upper())).status_code == 200
    problem(await attempt(anonymous, owner, code), 401, "invalid_grant")

    assert (await attempt(anonymous, owner, authenticator.recovery_codes[4])).status_code == 200
    assert (await owner.http.get(TOTP)).json()["recovery_codes_left"] == 8


async def test_a_recovery_code_with_a_wrong_password_is_not_used_up(owner, anonymous, authenticator):
    code = authenticator.recovery_codes[0]
    problem(await attempt(anonymous, owner, code, "not the password"), 401, "invalid_grant")

    assert (await attempt(anonymous, owner, code)).status_code == 200


async def test_anothers_recovery_code_is_none(owner, stranger, anonymous, authenticator, enrol):
    others = await enrol(stranger)

    problem(await attempt(anonymous, owner, others.recovery_codes[0]), 401, "invalid_grant")

    assert (await attempt(anonymous, stranger, others.recovery_codes[0])).status_code == 200


async def test_new_recovery_codes_take_the_old_ones_place(owner, anonymous, authenticator):
    response = await owner.http.post(RECOVERY, json={"password": PASSWORD, "code": authenticator.code()})

    renewed = response.json()["recovery_codes"]
    assert response.status_code == 201
    assert response.headers["Cache-Control"] == "no-store"
    assert not set(renewed) & set(authenticator.recovery_codes)
    problem(await attempt(anonymous, owner, authenticator.recovery_codes[0]), 401, "invalid_grant")
    assert (await attempt(anonymous, owner, renewed[0])).status_code == 200


async def test_a_removed_factor_is_asked_for_no_more(owner, anonymous, authenticator, sql):
    response = await owner.http.post(f"{TOTP}/disable", json={"password": PASSWORD, "code": authenticator.code()})

    assert (response.status_code, response.content) == (204, b"")
    assert await log_in(anonymous, owner.email)
    assert sql("SELECT totp_secret_sealed, totp_confirmed_at, totp_last_step FROM users WHERE id = %s", owner.id) == [
        (None, None, None)
    ]
    assert sql("SELECT 1 FROM recovery_codes WHERE user_id = %s", owner.id) == []


async def test_a_recovery_code_removes_a_lost_factor(owner, anonymous, authenticator):
    body = {"password": PASSWORD, "code": authenticator.recovery_codes[0]}

    assert (await owner.http.post(f"{TOTP}/disable", json=body)).status_code == 204

    assert await log_in(anonymous, owner.email)


@pytest.mark.parametrize("address", [f"{TOTP}/disable", RECOVERY])
async def test_only_password_and_code_together_touch_a_factor(owner, anonymous, authenticator, sql, address):
    before = sql("SELECT digest FROM recovery_codes WHERE user_id = %s ORDER BY 1", owner.id)
    wrong = {"password": "not the password", "code": authenticator.code()}
    problem(await owner.http.post(address, json=wrong), 403, "wrong_password")
    for code in ("000000", "null"):
        problem(await owner.http.post(address, json={"password": PASSWORD, "code": code}), 403, "wrong_code")
    for body in ({"password": PASSWORD}, {"code": "000000"}, {"password": PASSWORD, "code": None}):
        problem(await owner.http.post(address, json=body), 422, "validation_failed")

    assert sql("SELECT digest FROM recovery_codes WHERE user_id = %s ORDER BY 1", owner.id) == before
    problem(await attempt(anonymous, owner), 401, "totp_required")
    assert (await attempt(anonymous, owner, authenticator.same_code())).status_code == 200, "the code was not used up"


@pytest.mark.parametrize("address", [f"{TOTP}/disable", RECOVERY])
async def test_a_code_used_for_one_thing_is_good_for_no_other(owner, authenticator, anonymous, address):
    code = authenticator.code()
    assert (await attempt(anonymous, owner, code)).status_code == 200

    problem(await owner.http.post(address, json={"password": PASSWORD, "code": code}), 403, "wrong_code")


@pytest.mark.parametrize("address", [f"{TOTP}/disable", RECOVERY])
async def test_without_a_factor_there_is_none_to_touch(owner, address):
    body = {"password": PASSWORD, "code": "000000"}

    problem(await owner.http.post(address, json=body), 409, "no_second_factor")


async def test_a_narrow_login_takes_a_code_as_well(owner, anonymous, authenticator):
    problem(await attempt(anonymous, owner, scope="agents:read"), 401, "totp_required")

    response = await attempt(anonymous, owner, authenticator.code(), scope="agents:read")

    assert response.json()["scope"] == "agents:read"


async def test_a_reset_of_the_password_does_not_remove_the_factor(
    mailing_place, make_user, connect, post_office, enrol
):
    person = await make_user(at=mailing_place)
    authenticator = await enrol(person)
    visitor = await connect(at=mailing_place)
    await visitor.post("/api/v1/auth/password-reset", json={"email": person.email})
    token = token_in(await post_office.next_to(person.email))
    new = "nineteen orange giraffes"

    done = await visitor.post("/api/v1/auth/password-reset/confirm", json={"token": token, "new_password": new})

    assert done.status_code == 204
    problem(await attempt(visitor, person, password=new), 401, "totp_required")
    assert (await attempt(visitor, person, authenticator.code(), new)).status_code == 200


async def test_a_code_is_never_logged(owner, anonymous, authenticator, capfd, caplog):
    code, recovery = authenticator.code(), authenticator.recovery_codes[0]
    await attempt(anonymous, owner, recovery)
    await attempt(anonymous, owner, code, "not the password")

    shown = capfd.readouterr()
    for secret in (authenticator.secret, recovery, f'"{code}"', "not the password"):
        assert secret not in caplog.text + shown.err + shown.out


@pytest.mark.usefixtures("every_failure_is_told")
async def test_the_audit_log_tells_which_factors_let_in_and_which_was_missing(anonymous, owner, authenticator, sql):
    problem(await attempt(anonymous, owner), 401, "totp_required")
    problem(await attempt(anonymous, owner, "000000"), 401, "invalid_grant")
    await attempt(anonymous, owner, authenticator.code())
    await attempt(anonymous, owner, authenticator.recovery_codes[0])

    told = sql("SELECT detail FROM audit_events WHERE user_id = %s AND action LIKE 'login.%%' ORDER BY id", owner.id)
    assert [detail for (detail,) in told] == [
        {"method": "password"},
        {"reason": "totp_required"},
        {"reason": "wrong_code"},
        {"method": "password+totp"},
        {"method": "password+recovery_code"},
    ]
