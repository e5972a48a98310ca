"""`arena user`: accounts made on the server itself."""

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer
from pydantic import ValidationError

from app.cli.installation import open_installation
from app.config import Settings, load_settings
from app.core.access_tokens import TokenSigner
from app.core.errors import StartupFailed
from app.core.key_ring import KeyRing
from app.core.sealing import Sealer
from app.schemas.auth import Register, UserRead
from app.services.auth import AuthService
from app.services.callers import Callers
from app.services.last_seen import LastSeen
from app.services.password_proofs import PasswordProofs
from app.services.second_factor import SecondFactors
from app.services.signing_keys import SigningKeys

DEFAULT_ADMIN = "admin@arena.example"


def create(
    email: Annotated[str, typer.Argument(help="The address to log in with.")],
    name: Annotated[str, typer.Option(help="The name shown to others; without one, what stands before the @.")] = "",
    admin: Annotated[bool, typer.Option("--admin", help="May administer the installation.")] = False,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input; else one is made.")
    ] = False,
) -> None:
    """Create an account, whether or not registration is open. Prints the password if it was made here."""
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else secrets.token_urlsafe(18)
    user = asyncio.run(_create(load_settings(), email, password, name, is_superuser=admin))
    print(f"created {user.email}")
    if not password_stdin:
        print(f"password: {password}")


def bootstrap() -> None:
    """Make the first administrator unless there is one; print the outcome as JSON."""
    print(json.dumps(asyncio.run(_bootstrap(load_settings()))))


async def _bootstrap(settings: Settings) -> dict[str, object]:
    async with _auth(settings) as auth:
        if await auth.has_superuser():
            return {"created": False, "email": None, "password": None}  # nosec B105 - there is none
        given = settings.auth.admin_password
        password = given.get_secret_value() if given else secrets.token_urlsafe(18)
        email = settings.auth.admin_email or DEFAULT_ADMIN
        request = _request(email, password, "Administrator")
        user = await auth.create_user(request, is_superuser=True)
    return {"created": True, "email": user.email, "password": None if given else password}


async def _create(settings: Settings, email: str, password: str, name: str, *, is_superuser: bool) -> UserRead:
    async with _auth(settings) as auth:
        request = _request(email, password, name or email.partition("@")[0])
        return await auth.create_user(request, is_superuser=is_superuser)


def _request(email: str, password: str, name: str) -> Register:
    try:
        return Register(email=email, password=password, display_name=name)
    except ValidationError as error:
        fault = error.errors()[0]
        raise StartupFailed(f"the {fault['loc'][0]} will not do: {fault['msg']}") from None


@asynccontextmanager
async def _auth(settings: Settings) -> AsyncIterator[AuthService]:
    async with open_installation(settings, "user") as (uow, secret_keys):
        sealer, proofs = Sealer(secret_keys), PasswordProofs(uow, None)
        signer = TokenSigner(KeyRing(SigningKeys(uow, sealer).load), secret_keys, settings.auth.access_token_seconds)
        callers = Callers(uow, signer, LastSeen(uow))
        yield AuthService(uow, signer, callers, proofs, SecondFactors(uow, sealer, proofs), settings)
