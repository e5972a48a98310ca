"""The second factor: time-based one-time passwords (RFC 6238), and the codes that stand in for them."""

import hmac
import re
import secrets
from datetime import datetime

import pyotp

STEP_SECONDS = 30
# A clock may be a step off, and a code take that long to type (RFC 6238, section 5.2).
STEPS_ASIDE = 1
ISSUER = "Discussion Arena"
RECOVERY_CODES = 10
_RECOVERY_GROUPS = 6
_GROUP_LETTERS = 4
# No letters that are mistaken for digits.
_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
_CODE = re.compile(r"[0-9]{6}")


def make_secret() -> str:
    """160 random bits in base32, as RFC 4226 (section 4) recommends."""
    return pyotp.random_base32()


def provisioning_uri(secret: str, email: str) -> str:
    """What an authenticator reads from a QR code (`otpauth://`)."""
    return pyotp.TOTP(secret, interval=STEP_SECONDS).provisioning_uri(name=email, issuer_name=ISSUER)


def matching_step(secret: str, code: str, now: datetime, last_step: int | None) -> int | None:
    """The time step that the code is of; None for a wrong one, and for any of `last_step` or before."""
    digits = "".join(code.split())
    if not _CODE.fullmatch(digits):
        return None
    totp = pyotp.TOTP(secret, interval=STEP_SECONDS)
    present = totp.timecode(now)
    matching = None
    for step in range(present - STEPS_ASIDE, present + STEPS_ASIDE + 1):
        is_unused = last_step is None or step > last_step
        if hmac.compare_digest(totp.generate_otp(step), digits) and is_unused:
            matching = step
    return matching


def make_recovery_codes() -> list[str]:
    """Ten codes of 118 random bits each: too many to guess, so a plain digest is enough to keep of them."""
    return ["-".join(_group() for _ in range(_RECOVERY_GROUPS)) for _ in range(RECOVERY_CODES)]


def _group() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(_GROUP_LETTERS))


def plain_recovery_code(typed: str) -> str:
    """The code however it was typed: in whatever case, with or without its hyphens."""
    return "".join(typed.lower().replace("-", " ").split())
