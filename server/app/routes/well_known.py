"""What others find at well-known addresses (RFC 8615)."""

from fastapi import APIRouter, Response

from app.dependencies import SigningKeyRing
from app.schemas.keys import PublicKey, PublicKeySet

# A new key signs ten seconds after it is published, so that nobody's copy may be that old.
CACHED_SECONDS = 5

router = APIRouter(tags=["operations"])


# nosemgrep: a-route-declares-its-permission - public keys are public
@router.get("/.well-known/jwks.json")
async def list_public_keys(response: Response, keys: SigningKeyRing) -> PublicKeySet:
    """The public keys of access tokens, those that will sign next and those whose tokens are still good included."""
    response.headers["Cache-Control"] = f"public, max-age={CACHED_SECONDS}"
    return PublicKeySet(keys=[PublicKey(**key.jwk) for key in keys.published()])
