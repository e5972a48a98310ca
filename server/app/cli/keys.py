"""`arena keys`: the keys of access tokens, and what the secret key seals."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from app.cli.installation import open_installation
from app.config import Settings, load_settings
from app.core.errors import StartupFailed
from app.core.sealing import Sealer
from app.repositories.signing_keys import AgedKey
from app.services.resealing import Count, Resealing
from app.services.signing_keys import SigningKeys

OVERLAP_SECONDS = 10.0


def rotate(
    overlap: Annotated[
        float, typer.Option(help="Seconds until the new key signs; every process knows it by then.", min=0, max=3600)
    ] = OVERLAP_SECONDS,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Give up all older keys now: one of them leaked, or cannot be read.")
    ] = False,
) -> None:
    """Follow the key of access tokens by a new one, beside the running product. No token is refused for it.

    With --at-once every access token is, within seconds; clients then refresh theirs.
    """
    settings = load_settings()
    kid = asyncio.run(_rotate(settings, overlap, at_once=at_once))
    print(f"{kid} signs now" if at_once else f"{kid} is published, and signs in {overlap:g} s")


async def _rotate(settings: Settings, overlap_seconds: float, *, at_once: bool) -> str:
    async with open_installation(settings, "keys", with_any_keys=at_once) as (uow, secret_keys):
        keys = SigningKeys(uow, Sealer(secret_keys))
        if at_once:
            return await keys.replace_at_once()
        return await keys.rotate(overlap_seconds, settings.auth.access_token_seconds)


def list_keys() -> None:
    """Show the keys of access tokens: which signs, which come, which go."""
    rows, openable = asyncio.run(_list(load_settings()))
    for place, aged in enumerate(rows):
        unreadable = "" if openable[aged.row.kid] else "; cannot be read with the secret key that is set"
        print(f"{aged.row.kid}  {_state(aged, rows[:place])}{unreadable}")


async def _list(settings: Settings) -> tuple[list[AgedKey], dict[str, bool]]:
    async with open_installation(settings, "keys", with_any_keys=True) as (uow, secret_keys):
        keys = SigningKeys(uow, Sealer(secret_keys))
        rows = list(await keys.list_all())
        return rows, {aged.row.kid: keys.is_openable(aged) for aged in rows}


def _state(aged: AgedKey, newer: list[AgedKey]) -> str:
    if aged.active_in_seconds > 0:
        return f"published, signs in {aged.active_in_seconds:.0f} s"
    gone = aged.retired_in_seconds
    if gone is not None and gone <= 0:
        return "retired"
    until = f", until in {gone:.0f} s" if gone is not None else ""
    signs = all(other.active_in_seconds > 0 for other in newer)
    return ("signs" if signs else "verifies") + until


def reseal() -> None:
    """Seal anew, with the newest secret key, what older ones sealed. Beside the running product, as often as wanted.

    Fails if something is left that no key which is set opens.
    """
    counts = asyncio.run(_reseal(load_settings()))
    for count in counts:
        print(f"{count.column}: {count.resealed} resealed, {count.left} left")
    left = sum(count.left for count in counts)
    if left:
        raise StartupFailed(f"{left} values are left: no secret key that is set opens them (ARENA_SECRET_KEY_PREVIOUS)")


async def _reseal(settings: Settings) -> list[Count]:
    async with open_installation(settings, "keys", with_any_keys=True) as (uow, secret_keys):
        return await Resealing(uow, Sealer(secret_keys), _tell).run()


def _tell(count: Count) -> None:
    Console(stderr=True).print(f"{count.column}: {count.resealed} resealed so far, {count.left} left", style="dim")
