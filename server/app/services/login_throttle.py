"""Guessing is slow, and locks nobody out: of passwords, second factors and reset tokens.

Failures are counted, successes are not. What is counted, and why (NIST SP 800-63B-4, 3.2.2; OWASP ASVS 5, 6.3.1):

- Of an account from one address: strictly. After 10 failures each further try waits twice as long as the one before,
  up to 15 minutes; where the account was logged in from within 30 days, up to 30 seconds.
- Of an account from all addresses together: after 100 failures within an hour, up to 30 seconds, and only for addresses
  that the account was not logged in from. So a stranger, with however many addresses, cannot keep an owner out of a
  place they are known at; and whoever guesses from ever new addresses has some thousand tries a day, against passwords
  that withstand a million (`core/security.py`).
- Of one address, whatever the account: after 60 failures within ten minutes, up to a minute, against trying one
  password on many accounts; again only of accounts that were not logged in from there, so that one guesser in an office
  keeps nobody out who works there.

An IPv6 address counts as its /64, which is what one customer is given. Whether there is such an account makes no
difference to any of it. Who waits is told for how long: 429 `too_many_attempts`, before a password is even looked at.
Valkey holds nobody's address, only digests. With Valkey away each process counts for itself, and lets half pass.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address

import structlog

from app.core.errors import RateLimited, Unauthenticated
from app.core.failures import Counted, Failures

log = structlog.stdlib.get_logger(__name__)

QUARTER, HOUR, TEN_MINUTES, MONTH = 900.0, 3600.0, 600.0, 30 * 86_400.0
KNOWN_LONGEST, UNKNOWN_LONGEST, ACCOUNT_LONGEST, ADDRESS_LONGEST = 30.0, 900.0, 30.0, 60.0
PAIR_FREE, ACCOUNT_FREE, ADDRESS_FREE = 10, 100, 60


class TooManyAttempts(RateLimited):
    """Too many failed ones; it says when the next one may be made."""

    code = "too_many_attempts"


class LoginThrottle:
    """Stands before whatever can be guessed."""

    def __init__(self, failures: Failures, *, is_on: bool = True) -> None:
        self._failures = failures
        self._is_on = is_on

    @asynccontextmanager
    async def attempting(self, account: str, address: str) -> AsyncIterator[None]:
        """Let one login be tried; raise `TooManyAttempts`. Raising `Unauthenticated` in the block is its failure."""
        if not self._is_on:
            yield
            return
        who, where = _digest(account.strip().lower()), place_of(address)
        pair = f"{who}:{where}"
        is_known = await self._failures.remembers(f"known:{pair}")
        counted = [
            Counted(f"pair:{pair}", PAIR_FREE, HOUR, KNOWN_LONGEST if is_known else UNKNOWN_LONGEST, is_cleared=True)
        ]
        if not is_known:
            counted.append(Counted(f"address:{where}", ADDRESS_FREE, TEN_MINUTES, ADDRESS_LONGEST))
            counted.append(Counted(f"account:{who}", ACCOUNT_FREE, HOUR, ACCOUNT_LONGEST))
        await self._begin(counted)
        try:
            yield
        except Unauthenticated:
            raise
        except BaseException:
            await self._failures.undo(counted)  # it says nothing about the password
            raise
        await self._failures.take_back(counted)
        await self._failures.remember(f"known:{pair}", MONTH)

    async def begin(self, what: str, address: str, whose: str = "") -> "Guess":
        """Let something else be guessed at, such as a code or a token; raise `TooManyAttempts`.

        What belongs to an account that somebody is logged in to is counted of that account, wherever they are: nobody
        else can guess at it, and others at their address are none the worse for it.
        """
        if whose:
            counted = [Counted(f"{what}:of:{_digest(whose)}", PAIR_FREE, HOUR, UNKNOWN_LONGEST, is_cleared=True)]
        else:
            counted = [Counted(f"{what}:{place_of(address)}", ADDRESS_FREE // 2, TEN_MINUTES, ADDRESS_LONGEST)]
        if self._is_on:
            await self._begin(counted)
        return Guess(self._failures, counted)

    async def _begin(self, counted: list[Counted]) -> None:
        seconds = await self._failures.begin(counted)
        if seconds > 0:
            log.warning("attempts_throttled", of=counted[0].name.partition(":")[0], seconds=round(seconds, 1))
            raise TooManyAttempts(
                "too many attempts have failed; wait before the next one", retry_after_seconds=seconds
            )


class Guess:
    """Something that may turn out to be right."""

    def __init__(self, failures: Failures, counted: list[Counted]) -> None:
        self._failures = failures
        self._counted = counted

    async def was_right(self) -> None:
        """Forget it."""
        await self._failures.take_back(self._counted)


def place_of(address: str) -> str:
    """What counts as one place: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return _digest(address)
    if isinstance(parsed, IPv6Address):
        parsed = parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64)
    return _digest(str(parsed))


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()
