"""Where the installation's secret keys come from: the environment, a file, Vault, or else the data folder.

Several keys are kept one a line, the newest first. The older ones open what they sealed until `arena keys reseal` has
sealed it anew.
"""

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from app.config import Settings
from app.core.derived_keys import SecretKeys
from app.core.errors import StartupFailed
from app.engines import vault
from app.engines.data_folder import secret_key

SHORTEST_KEY = 32
MOST_FILE_BYTES = 64 * 1024
OPEN_TO_OTHERS = stat.S_IWGRP | stat.S_IRWXO
SOURCES = ("ARENA_SECRET_KEY", "ARENA_SECRET_KEY_FILE", "ARENA_VAULT_URL")


async def find_secret_keys(settings: Settings) -> SecretKeys:
    """All keys that are set, the newest first; one in the data folder is made if there is none. May ask Vault.

    Raise `StartupFailed` in a sentence that holds no key.
    """
    auth = settings.auth
    given = (auth.secret_key, auth.secret_key_file, settings.vault.vault_url)
    named = [name for name, value in zip(SOURCES, given, strict=True) if value is not None]
    if len(named) > 1:
        raise StartupFailed(f"set only one of {' and '.join(named)}: the secret key comes from one place")
    if auth.secret_key is not None:
        found = [auth.secret_key.get_secret_value()]
    elif auth.secret_key_file is not None:
        found = _lines(read_private(auth.secret_key_file, "ARENA_SECRET_KEY_FILE"))
    elif settings.vault.vault_url is not None:
        found = [line for text in await vault.read_secrets(settings.vault) for line in _lines(text)]
    else:
        found = [secret_key(settings)]
    previous = auth.secret_key_previous.get_secret_value() if auth.secret_key_previous is not None else ""
    return _checked([*found, *_listed(previous)], named[0] if named else "the data folder")


def is_in_data_folder(settings: Settings) -> bool:
    """Whether no other place for the key is set."""
    return (settings.auth.secret_key, settings.auth.secret_key_file, settings.vault.vault_url) == (None, None, None)


def as_variables(keys: SecretKeys) -> dict[str, str]:
    """The environment variables that give these very keys to a process of ours."""
    older = "".join(f"{key}\n" for key in keys[1:])
    return {"ARENA_SECRET_KEY": keys.newest, "ARENA_SECRET_KEY_PREVIOUS": older}


def read_private(path: Path, variable: str) -> str:
    """A file that only its owner and perhaps its group may read; raise `StartupFailed` for any other."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise StartupFailed(f"{path} ({variable}) cannot be read: {error.strerror}") from None
    if mode & OPEN_TO_OTHERS:
        raise StartupFailed(f"{path} ({variable}) is open to others (mode {mode:04o}): run chmod 600 {path}")
    try:
        text = content.decode()
    except ValueError:
        text = ""
    if not text or len(content) > MOST_FILE_BYTES:
        raise StartupFailed(f"{path} ({variable}) does not hold a secret, but something long or no text")
    return text


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _listed(text: str) -> list[str]:
    """One a line, or separated by commas: a key on a line of its own may hold commas."""
    return _lines(text) if "\n" in text else _lines("\n".join(re.split(r",", text)))


def _checked(keys: Iterable[str], source: str) -> SecretKeys:
    distinct = SecretKeys(dict.fromkeys(keys))
    if not distinct:
        raise StartupFailed(f"there is no secret key in what {source} names")
    if any(len(key) < SHORTEST_KEY for key in distinct):
        raise StartupFailed(
            f"a secret key ({source}, ARENA_SECRET_KEY_PREVIOUS) is too short: {SHORTEST_KEY} characters or more"
        )
    return distinct
