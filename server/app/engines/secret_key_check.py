"""Whether the secret keys that are set are those of the database."""

import psycopg

from app.core.errors import StartupFailed
from app.core.sealing import SealBroken, Sealer
from app.engines.database_check import CONNECT_SECONDS, plain_url
from app.models.sealed import SIGNING_KEYS

IS_ANOTHER_KEY = (
    "this is not the secret key that the database's secrets are sealed with: give the same one to all processes "
    "(ARENA_SECRET_KEY), and one that it replaces as ARENA_SECRET_KEY_PREVIOUS until `arena keys reseal` is done; "
    "if it is lost, `arena keys rotate --at-once` gives up what it sealed"
)
_PUBLISHED = "SELECT kid, private_key_sealed FROM signing_keys WHERE retired_at IS NULL OR retired_at > now()"


def check_secret_keys(url: str, sealer: Sealer) -> None:
    """Raise `StartupFailed` if a key of access tokens was sealed with a secret key that is not here."""
    try:
        with psycopg.connect(plain_url(url), connect_timeout=CONNECT_SECONDS, autocommit=True) as connection:
            found = connection.execute(_PUBLISHED).fetchall()
        for kid, sealed in found:
            sealer.unseal(sealed, SIGNING_KEYS.place(kid))
    except psycopg.errors.UndefinedTable:
        raise StartupFailed("the database's tables are those of an older release: run `arena migrate` first") from None
    except SealBroken:
        raise StartupFailed(IS_ANOTHER_KEY) from None
