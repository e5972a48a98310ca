"""The account that a command acts as on this machine: made once, its password kept beside the data."""

import json
import os
import secrets
from pathlib import Path

from app.core.errors import StartupFailed
from arena_client import ArenaClient, ArenaProblem

DOMAIN = "arena.example"


def log_in(client: ArenaClient, file: Path, name: str) -> None:
    """Act as the account in `file` (mode 0600), making both where they do not exist."""
    email, password = _read(file) if file.exists() else _make(file, name.lower())
    try:
        client.login(email, password)
    except ArenaProblem as problem:
        if problem.code != "invalid_grant":
            raise
        _register(client, email, password, name, file)
        client.login(email, password)


def _read(file: Path) -> tuple[str, str]:
    try:
        login = json.loads(file.read_text("utf-8"))
        return login["email"], login["password"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StartupFailed(f"the login in {file} cannot be read ({error}): remove it, and another is made") from None


def _make(file: Path, name: str) -> tuple[str, str]:
    """Write the login before it is used, so that whatever happens next, it is known."""
    email, password = f"{name}-{secrets.token_hex(3)}@{DOMAIN}", secrets.token_urlsafe(18)
    aside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as new:
        json.dump({"email": email, "password": password}, new)
    aside.replace(file)
    return email, password


def _register(client: ArenaClient, email: str, password: str, name: str, file: Path) -> None:
    try:
        client.register(email, password, name)
    except ArenaProblem as problem:
        if problem.code == "registration_closed":
            mend = f"arena user create {email} --password-stdin (its password is in {file})"
            raise StartupFailed(f"registration is closed here; make the account yourself: {mend}") from None
        raise
