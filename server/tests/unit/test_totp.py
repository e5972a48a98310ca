"""Time-based codes (RFC 6238), and recovery codes."""

import math
from datetime import UTC, datetime, timedelta

import pyotp
import pytest

from app.core.totp import (
    make_recovery_codes,
    make_secret,
    matching_step,
    plain_recovery_code,
    provisioning_uri,
)

# The RFC's own secret (appendix B), and its moments with the last six of its eight digits.
RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
RFC_CODES = [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (2000000000, "279037")]
NOW = datetime(2026, 11, 29, 8, 0, 10, tzinfo=UTC)
STEP = int(NOW.timestamp()) // 30


def code_at(secret, step):
    return pyotp.TOTP(secret).generate_otp(step)


@pytest.mark.parametrize(("seconds", "code"), RFC_CODES)
def test_the_codes_of_the_rfc_are_good_at_their_moment(seconds, code):
    assert matching_step(RFC_SECRET, code, datetime.fromtimestamp(seconds, UTC), None) == seconds // 30


@pytest.mark.parametrize(("aside", "is_good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_code_is_good_in_its_step_and_one_aside(aside, is_good):
    found = matching_step(RFC_SECRET, code_at(RFC_SECRET, STEP + aside), NOW, None)

    assert found == (STEP + aside if is_good else None)


def test_a_code_is_good_to_the_last_moment_of_the_step_after_its_own():
    code, end = code_at(RFC_SECRET, STEP), datetime.fromtimestamp((STEP + 2) * 30, UTC)

    assert matching_step(RFC_SECRET, code, end - timedelta(microseconds=1), None) == STEP
    assert matching_step(RFC_SECRET, code, end, None) is None


def test_no_code_of_a_used_step_or_an_earlier_one_is_good():
    assert matching_step(RFC_SECRET, code_at(RFC_SECRET, STEP), NOW, STEP) is None
    assert matching_step(RFC_SECRET, code_at(RFC_SECRET, STEP - 1), NOW, STEP) is None
    assert matching_step(RFC_SECRET, code_at(RFC_SECRET, STEP + 1), NOW, STEP) == STEP + 1


@pytest.mark.parametrize("typed", ["", " ", "0", "0000000", "abcdef", "٣٤٥٦٧٨", "12345", "-12345", "1e5000"])
def test_what_is_no_code_is_refused(typed):
    assert matching_step(RFC_SECRET, typed, NOW, None) is None


def test_a_code_may_be_typed_as_it_is_shown():
    code = code_at(RFC_SECRET, STEP)

    assert matching_step(RFC_SECRET, f" {code[:3]} {code[3:]}", NOW, None) == STEP


def test_secrets_are_160_random_bits_that_an_authenticator_can_read():
    first, second = make_secret(), make_secret()

    assert first != second
    assert len(pyotp.TOTP(first).byte_secret()) == 20
    parsed = pyotp.parse_uri(provisioning_uri(first, "ada@arena.example"))
    assert (parsed.secret, parsed.name, parsed.issuer) == (first, "ada@arena.example", "Discussion Arena")
    assert parsed.at(NOW) == code_at(first, STEP)


def test_recovery_codes_are_ten_and_never_the_same():
    codes = [*make_recovery_codes(), *make_recovery_codes()]

    assert len(set(codes)) == 20
    assert all(len(plain_recovery_code(code)) == 24 for code in codes)


def test_a_recovery_code_has_the_bits_that_a_plain_digest_asks_for():
    letters = set("".join(plain_recovery_code(code) for _ in range(100) for code in make_recovery_codes()))

    assert 24 * math.log2(len(letters)) >= 112


def test_a_recovery_code_may_be_typed_in_whatever_way():
    code = make_recovery_codes()[0]
    bare = code.replace("-", "")

    for typed in (code, bare, code.upper(), f"  {code.replace('-', ' ')}\n"):
        assert plain_recovery_code(typed) == bare
