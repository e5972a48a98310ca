"""Tokens and passwords: what is ours is read, whatever has been touched is refused."""

import base64
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from pwdlib import PasswordHash

from app.core.security import (
    AccessClaims,
    ExpiredToken,
    InvalidToken,
    RefreshToken,
    TokenSigner,
    WeakPassword,
    check_password_strength,
    hash_password,
    verify_password,
)

KEY = "k" * 40
CLAIMS = AccessClaims(uuid4(), uuid4(), "agents:read")


@pytest.fixture(scope="module")
def signer():
    return TokenSigner(KEY, 600)


def payload(**changes):
    now = datetime.now(UTC)
    good = {
        **{"iss": "arena", "aud": "arena-api", "sub": str(CLAIMS.user_id), "sid": str(CLAIMS.session_id)},
        **{"scope": "", "iat": now, "exp": now + timedelta(minutes=5)},
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(signer, *, headers=None, **changes):
    """A token signed with the true key, with another payload or header."""
    given = {"typ": "at+jwt", "kid": signer.key_id, **(headers or {})}
    return jwt.encode(payload(**changes), signer._private, "EdDSA", headers=given)


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value, default=str).encode()).rstrip(b"=").decode()


def test_a_token_says_what_was_put_into_it(signer):
    assert signer.verify(signer.issue(CLAIMS)) == CLAIMS


def test_replicas_with_the_same_secret_read_each_others_tokens(signer):
    assert TokenSigner(KEY, 60).verify(signer.issue(CLAIMS)) == CLAIMS


def test_the_forger_of_this_file_can_make_a_good_token(signer):
    """Otherwise the tests below would prove nothing."""
    assert signer.verify(signed(signer)).user_id == CLAIMS.user_id


def test_a_token_is_good_until_it_expires_and_no_longer(signer):
    issued = datetime.now(UTC)

    assert signer.verify(signer.issue(CLAIMS, issued - timedelta(seconds=590)))
    with pytest.raises(ExpiredToken):
        signer.verify(signer.issue(CLAIMS, issued - timedelta(seconds=601)))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "another"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"sub": None},
        {"sub": "admin"},
        {"sub": 5},
        {"sid": None},
        {"sid": "none"},
        {"exp": None},
        {"exp": "never"},
        {"iat": None},
        {"iat": datetime.now(UTC) + timedelta(hours=1)},
        {"nbf": datetime.now(UTC) + timedelta(hours=1)},
    ],
)
def test_a_token_of_ours_with_wrong_claims_is_refused(signer, changes):
    with pytest.raises(InvalidToken):
        signer.verify(signed(signer, **changes))


@pytest.mark.parametrize("headers", [{"typ": "JWT"}, {"typ": "rt+jwt"}, {"kid": "another"}, {"kid": ""}])
def test_a_token_of_ours_for_another_use_is_refused(signer, headers):
    with pytest.raises(InvalidToken):
        signer.verify(signed(signer, headers=headers))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", ""])
def test_an_unsigned_token_is_refused(signer, algorithm):
    header = part({"alg": algorithm, "typ": "at+jwt", "kid": signer.key_id})

    for signature in ("", "AAAA"):
        with pytest.raises(InvalidToken):
            signer.verify(f"{header}.{part(payload())}.{signature}")


def test_the_public_key_does_not_pass_for_a_shared_secret(signer):
    """Algorithm confusion: signed with HMAC over what everybody may know."""
    import hashlib  # noqa: PLC0415
    import hmac  # noqa: PLC0415

    raw = signer._public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    head = f"{part({'alg': 'HS256', 'typ': 'at+jwt', 'kid': signer.key_id})}.{part(payload(iat=1, exp=2**33))}"
    signature = base64.urlsafe_b64encode(hmac.new(raw, head.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()

    with pytest.raises(InvalidToken):
        signer.verify(f"{head}.{signature}")


def test_a_token_of_another_key_under_our_key_id_is_refused(signer):
    headers = {"typ": "at+jwt", "kid": signer.key_id}
    forged = jwt.encode(payload(), Ed25519PrivateKey.generate(), "EdDSA", headers=headers)

    with pytest.raises(InvalidToken):
        signer.verify(forged)


def test_a_token_under_another_installations_secret_is_refused(signer):
    with pytest.raises(InvalidToken):
        signer.verify(TokenSigner("x" * 40, 600).issue(CLAIMS))


@given(data=st.data())
def test_a_token_touched_anywhere_is_refused(data):
    signer = TokenSigner(KEY, 600)
    token = signer.issue(CLAIMS)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda character: character != token[place]))
    touched = token[:place] + other + token[place + 1 :]

    try:
        claims = signer.verify(touched)
    except InvalidToken:
        return
    # The last character of a signature holds bits that mean nothing.
    assert (place, claims) == (len(token) - 1, CLAIMS)


@given(garbage=st.text())
def test_garbage_is_no_token(garbage):
    with pytest.raises(InvalidToken):
        TokenSigner(KEY, 600).verify(garbage)


def test_a_refresh_token_reads_back_as_it_was_made():
    made = RefreshToken.make(uuid4(), 7, b"key")

    assert RefreshToken.parse(str(made)) == made


def test_a_refresh_token_matches_only_its_own_digest():
    session = uuid4()
    one, other = RefreshToken.make(session, 1, b"key"), RefreshToken.make(session, 1, b"key")

    assert one.matches(one.digest)
    assert not one.matches(other.digest)


@given(garbage=st.one_of(st.text(), st.text().map(lambda text: f"arena_rt_{text}")))
def test_garbage_is_no_refresh_token(garbage):
    parsed = RefreshToken.parse(garbage)

    assert parsed is None or isinstance(parsed.session_id, UUID)


@pytest.mark.parametrize(
    "text",
    [
        *("", "arena_rt_", f"{'0' * 32}.1.x", f"arena_rt_{'0' * 32}.1.", f"arena_rt_{'0' * 32}.-1.x"),
        *(f"arena_rt_{'0' * 32}.x.y", f"arena_rt_{'0' * 32}.².y", "arena_rt_none.1.x", f"arena_rt_{'0' * 32}"),
    ],
)
def test_what_is_not_of_its_form_is_no_refresh_token(text):
    assert RefreshToken.parse(text) is None


@pytest.mark.parametrize(
    "password", ["correcthorsebatterystaple", "Tr0ub4dor&3 and more", "日本語のとても長い合言葉です"]
)
def test_a_good_password_is_accepted(password):
    check_password_strength(password, email="ada@arena.example", display_name="Ada Byron")


@pytest.mark.parametrize(
    "password",
    ["Password1234", "qwertyuiop12", "123456789012", "aaaaaaaaaaaa", "ADA@ARENA.EXAMPLE", "ada byron"],
)
def test_a_password_that_comes_to_mind_first_is_refused(password):
    with pytest.raises(WeakPassword):
        check_password_strength(password, email="ada@arena.example", display_name="Ada Byron")


@pytest.mark.anyio
async def test_a_password_hash_is_argon2id_and_never_twice_the_same(monkeypatch):
    monkeypatch.setattr("app.core.security._HASHER", PasswordHash.recommended())
    one, other = await hash_password("a password"), await hash_password("a password")

    assert one.startswith("$argon2id$v=19$m=65536,")
    assert one != other
    assert await verify_password("a password", one)
    assert not await verify_password("another password", one)


@pytest.mark.anyio
async def test_an_unknown_user_has_no_password():
    assert not await verify_password("anything", None)
