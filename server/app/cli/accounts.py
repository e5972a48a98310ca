"""`arena user list|disable|enable`: what an operator does about accounts on the server itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer

from app.config import load_settings
from app.core.database import database_url, libpq_url, make_engine
from app.core.queue import make_queue
from app.engines.database_check import check_database, check_schema
from app.schemas.admin import AccountRead, AccountUpdate
from app.services.administration import AdministrationService
from app.services.unit_of_work import UnitOfWorkFactory

Address = Annotated[str, typer.Argument(help="The address that the account logs in with.")]
PAGE = 200


def list_accounts(
    words: Annotated[str, typer.Argument(help="Looked for in addresses and names; without: all accounts.")] = "",
) -> None:
    """List accounts, the newest first."""
    asyncio.run(_list(words))


def disable(email: Address) -> None:
    """Disable an account: its sessions, API keys and streams end within two seconds, for good."""
    asyncio.run(_change(email, AccountUpdate(is_disabled=True)))
    print(f"disabled {email}")


def enable(email: Address) -> None:
    """Let a disabled account log in again."""
    asyncio.run(_change(email, AccountUpdate(is_disabled=False)))
    print(f"enabled {email}")


async def _list(words: str) -> None:
    cursor: str | None = None
    async with _administration() as administration:
        while True:
            page = await administration.list_page(words or None, PAGE, cursor)
            for account in page.items:
                print(_line(account))
            cursor = page.next_cursor
            if cursor is None:
                return


def _line(account: AccountRead) -> str:
    marks = [name for name, holds in (("admin", account.is_superuser), ("disabled", account.is_disabled)) if holds]
    return "\t".join([account.email, account.display_name, " ".join(marks)]).rstrip()


async def _change(email: str, change: AccountUpdate) -> None:
    async with _administration() as administration:
        await administration.update_as_operator(email, change)


@asynccontextmanager
async def _administration() -> AsyncIterator[AdministrationService]:
    settings = load_settings()
    url = libpq_url(database_url(settings.database))
    check_database(url)
    check_schema(url)
    engine = make_engine(settings.database, "user")
    queue = make_queue(settings.database, "user")
    try:
        yield AdministrationService(UnitOfWorkFactory(engine, queue, lambda *_: None, settings.auth.session_idle))
    finally:
        await engine.dispose()
