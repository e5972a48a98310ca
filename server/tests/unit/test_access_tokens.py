"""Access tokens: what is ours is read, and every known way to pass off another is refused.

Each attack is made by a forger that can make good tokens, too: otherwise its refusal would prove nothing.
"""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from app.core.access_tokens import (
    ACCESS,
    STREAM,
    AccessClaims,
    ExpiredToken,
    InvalidToken,
    TokenSigner,
    UnknownKey,
)
from app.core.key_ring import KeyRing
from tests.fixtures.signers import SECRET_KEYS, Keys, make_key, make_signer, ring_of

CLAIMS = AccessClaims(uuid4(), uuid4(), "agents:read")
KEY = make_key()


@pytest.fixture
def signer():
    return make_signer(KEY)


def payload(**changes):
    now = int(time.time())
    good = {
        **{"iss": "arena", "aud": "arena-api", "sub": str(CLAIMS.user_id), "sid": str(CLAIMS.session_id)},
        **{"scope": "", "iat": now, "exp": now + 300},
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def encoded(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(*, header=None, key=KEY.private, **changes):
    """A token signed with the true key, with another payload or header; `header` may be the very bytes."""
    members = {"alg": "EdDSA", "kid": KEY.kid, "typ": ACCESS}
    head = header if isinstance(header, bytes) else {**members, **(header or {})}
    signed = f"{encoded(head)}.{encoded(payload(**changes))}"
    return f"{signed}.{encoded(key.sign(signed.encode()))}"


def with_hmac(secret, algorithm="HS256"):
    signed = f"{encoded({'alg': algorithm, 'kid': KEY.kid, 'typ': ACCESS})}.{encoded(payload())}"
    return f"{signed}.{encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def refused(signer, token, kind=ACCESS, error=InvalidToken):
    with pytest.raises(error):
        signer.verify(token, kind)


def test_the_forger_of_this_file_can_make_a_good_token(signer):
    assert signer.verify(forged()).user_id == CLAIMS.user_id


def test_a_token_says_what_was_put_into_it(signer):
    assert signer.verify(signer.issue(CLAIMS)) == CLAIMS


def test_a_tokens_header_names_its_use_its_algorithm_and_its_key_and_nothing_else(signer):
    header = jwt.get_unverified_header(signer.issue(CLAIMS))

    assert header == {"typ": "at+jwt", "alg": "EdDSA", "kid": KEY.kid}


def test_replicas_with_the_same_keys_read_each_others_tokens(signer):
    assert make_signer(KEY, seconds=60).verify(signer.issue(CLAIMS)) == CLAIMS


@pytest.mark.parametrize("seen_before", [False, True])
def test_a_token_is_good_until_it_expires_and_not_a_second_longer(signer, seen_before, monkeypatch):
    now = datetime.now(UTC)
    fresh, expired = (signer.issue(CLAIMS, now - timedelta(seconds=age)) for age in (598, 601))
    assert signer.verify(fresh)
    if not seen_before:
        refused(signer, expired, error=ExpiredToken)
        return
    monkeypatch.setattr("app.core.access_tokens.utc_now", lambda: now + timedelta(seconds=3))
    refused(signer, fresh, error=ExpiredToken)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "another"},
        {"iss": None},
        {"iss": ["arena"]},
        {"aud": "another"},
        {"aud": "arena"},
        {"aud": None},
        {"sub": None},
        {"sub": "admin"},
        {"sub": 5},
        {"sid": None},
        {"sid": "none"},
        {"sid": ["x"]},
        {"exp": None},
        {"exp": "never"},
        {"exp": float("inf")},
        {"iat": None},
        {"iat": "now"},
        {"iat": time.time() + 3600},
        {"nbf": time.time() + 3600},
    ],
)
def test_a_token_of_ours_with_missing_or_wrong_claims_is_refused(signer, changes):
    refused(signer, forged(**changes))


def test_a_token_of_a_machine_whose_clock_is_a_little_ahead_is_good(signer):
    assert signer.verify(signer.issue(CLAIMS, datetime.now(UTC) + timedelta(seconds=5)))


@pytest.mark.parametrize("typ", ["JWT", "rt+jwt", "AT+JWT", "application/at+jwt", "", None, 5, ["at+jwt"]])
def test_a_token_of_another_type_is_refused(signer, typ):
    refused(signer, forged(header={"typ": typ}))


@pytest.mark.parametrize("issued_as", [ACCESS, STREAM])
def test_a_stream_token_is_no_access_token_nor_the_other_way_round(signer, issued_as):
    token = signer.issue(CLAIMS, kind=issued_as)
    other = STREAM if issued_as == ACCESS else ACCESS

    refused(signer, token, other)
    assert signer.verify(token, issued_as) == CLAIMS
    refused(signer, token, other)  # also once it is remembered


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 0, ["EdDSA"], ["none", "EdDSA"]])
@pytest.mark.parametrize("signature", ["", "AAAA", "A" * 86, None])
def test_an_unsigned_token_is_refused(signer, algorithm, signature):
    token = forged(header={"alg": algorithm})
    head, _, own = token.rpartition(".")

    refused(signer, f"{head}.{own if signature is None else signature}")


def test_a_token_without_its_signature_is_refused(signer):
    head = forged().rpartition(".")[0]

    for token in (head, f"{head}.", f"{head}..", head.partition(".")[0]):
        refused(signer, token)


@pytest.mark.parametrize("form", ["raw", "PEM", "PEM without its last line break", "DER", "JWK", "x"])
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512", "EdDSA"])
def test_the_public_key_does_not_pass_for_a_shared_secret(signer, form, algorithm):
    """Algorithm confusion: signed with an HMAC over what everybody may know."""
    pem = KEY.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    secrets = {
        "raw": KEY.public.public_bytes_raw(),
        "PEM": pem,
        "PEM without its last line break": pem.rstrip(),
        "DER": KEY.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "JWK": json.dumps(KEY.jwk).encode(),
        "x": KEY.jwk["x"].encode(),
    }

    refused(signer, with_hmac(secrets[form], algorithm))


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "ES512", "Ed25519", "HS256", "eddsa"])
def test_the_true_signature_under_another_algorithms_name_is_refused(signer, algorithm):
    refused(signer, forged(header={"alg": algorithm}))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_token_of_another_algorithm_is_refused(signer, algorithm):
    own = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if algorithm == "RS256"
        else ec.generate_private_key(ec.SECP256R1())
    )

    refused(signer, jwt.encode(payload(), own, algorithm, headers={"typ": ACCESS, "kid": KEY.kid}))


def test_a_token_of_another_key_under_our_keys_name_is_refused(signer):
    refused(signer, forged(key=Ed25519PrivateKey.generate()))


def test_a_token_of_another_installation_is_refused(signer):
    refused(signer, make_signer().issue(CLAIMS), error=UnknownKey)


@pytest.mark.parametrize(
    "members",
    [
        {"jku": "https://attacker.example/jwks.json"},
        {"jwk": make_key().jwk},
        {"jwk": KEY.jwk},
        {"x5u": "https://attacker.example/certificate"},
        {"x5c": ["MIIB"]},
        {"x5t": "AAAA"},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": True},
        {"crit": []},
        {"b64": False},
        {"b64": False, "crit": ["b64"]},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"cty": "JWT"},
        {"nonce": "x"},
    ],
    ids=" ".join,
)
def test_a_header_that_brings_its_own_key_or_way_of_reading_is_refused(signer, members):
    """Even if it was signed with the true key: nothing here follows an address or takes a key out of a token."""
    refused(signer, forged(header=members))


def test_a_key_in_the_header_that_signed_the_token_is_not_believed(signer):
    own = make_key()

    refused(signer, forged(header={"jwk": own.jwk, "kid": own.kid}, key=own.private))
    refused(signer, forged(header={"jku": "https://attacker.example/", "kid": own.kid}, key=own.private))


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg":"none","alg":"EdDSA","kid":"%s","typ":"at+jwt"}',
        b'{"alg":"EdDSA","kid":"other","kid":"%s","typ":"at+jwt"}',
        b'{"alg":"EdDSA","kid":"%s","typ":"JWT","typ":"at+jwt"}',
        b'{"alg":"EdDSA","kid":"%s"}',
        b'["alg","EdDSA","kid","%s"]',
        b'"%s"',
        b"null",
        b"%s",
        b'{"alg":"EdDSA","kid":"%s","typ":"at+jwt"',
        b"[" * 300,
        b"\xff\xfe{}" + b" " * 20,
    ],
)
def test_a_header_that_can_be_read_in_two_ways_or_in_none_is_refused(signer, header):
    raw = header.replace(b"%s", KEY.kid.encode())

    refused(signer, forged(header=raw + b" " * (20 - len(raw))))


@pytest.mark.parametrize(
    "kid",
    [
        *("../../../../dev/null", "/proc/self/environ", "' OR '1'='1", "x'; DROP TABLE signing_keys; --", ""),
        *("a" * 42, "a" * 44, "a" * 300, "\x00" * 43, "ü" * 43, KEY.kid + "\n", f" {KEY.kid}", "$" * 43),
        *(None, 5, True, [KEY.kid], {"kid": KEY.kid}, 1.5),
    ],
    ids=range(19),  # a key of each run's own must not be part of a test's name
)
def test_a_kid_that_is_no_thumbprint_is_refused_and_looked_for_nowhere(kid):
    keys = Keys([KEY])
    signer = TokenSigner(KeyRing(keys.load), SECRET_KEYS, 600)

    with pytest.raises(InvalidToken) as refusal:
        signer.verify(forged(header={"kid": kid}))

    assert refusal.type is InvalidToken, "an UnknownKey would be looked for"


@pytest.mark.anyio
async def test_ten_thousand_tokens_with_as_many_kids_cost_little_and_ask_once(signer):
    """Others, whose key is known, are served meanwhile as before."""
    keys = Keys([KEY])
    flooded = TokenSigner(KeyRing(keys.load), SECRET_KEYS, 600)
    good = signer.issue(CLAIMS)
    assert await flooded.read(good) == CLAIMS
    head, _, rest = forged().partition(".")
    assert head
    flood = [f"{encoded({'alg': 'EdDSA', 'kid': f'{number:043d}', 'typ': ACCESS})}.{rest}" for number in range(10_000)]

    started, loads = time.perf_counter(), keys.loads
    for number, token in enumerate(flood):
        with pytest.raises(InvalidToken):
            await flooded.read(token)
        if number % 100 == 0:
            assert await flooded.read(good) == CLAIMS
    took = time.perf_counter() - started

    assert took < 10
    assert keys.loads - loads <= took + 1


@pytest.mark.alone
@pytest.mark.parametrize("part", ["payload", "header", "signature", "all"])
@pytest.mark.parametrize("size", [5_000, 1_000_000])
def test_a_huge_token_is_refused_unread(signer, part, size):
    head, body, signature = forged().split(".")
    huge = "A" * size
    token = {
        "payload": f"{head}.{huge}.{signature}",
        "header": f"{huge}.{body}.{signature}",
        "signature": f"{head}.{body}.{huge}",
        "all": huge,
    }[part]

    started = time.perf_counter()
    refused(signer, token)
    assert time.perf_counter() - started < 0.1


def test_a_good_token_with_anything_around_it_is_another(signer):
    good = signer.issue(CLAIMS)
    assert signer.verify(good)

    for token in (f"{good}.", f"{good}.x", f"{good}=", f"{good}==", f"{good} ", f" {good}", f"{good}\n", f"{good}A"):
        refused(signer, token)
    for token in (f".{good}", good.replace(".", "..", 1), f"{good}.{good}", good + "!", good[:-1], f"{good}\x00"):
        refused(signer, token)


@given(data=st.data())
def test_a_token_touched_anywhere_is_refused(data):
    signer = make_signer(KEY)
    token = signer.issue(CLAIMS)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda character: character != token[place]))

    refused(signer, token[:place] + other + token[place + 1 :])


@given(garbage=st.one_of(st.text(), st.text(alphabet="AQgw.eyJ_-", min_size=100, max_size=300)))
def test_garbage_is_no_token(garbage):
    refused(make_signer(KEY), garbage)


def test_a_token_that_was_seen_ends_with_its_key():
    old, new = make_key(retired_in=60), make_key()
    ring = ring_of(new, old)
    signer = TokenSigner(ring, SECRET_KEYS, 600)
    token = make_signer(old).issue(CLAIMS)
    assert signer.verify(token) == CLAIMS

    ring.take([new], time.monotonic())

    refused(signer, token, error=UnknownKey)


@pytest.mark.anyio
async def test_a_token_of_a_key_that_was_made_since_is_read_after_one_look():
    keys = Keys([KEY])
    ring = KeyRing(keys.load)
    await ring.load()
    ring._tried_at -= 1
    keys.insert(0, new := make_key())

    assert await TokenSigner(ring, SECRET_KEYS, 600).read(make_signer(new).issue(CLAIMS)) == CLAIMS
    assert keys.loads == 2
