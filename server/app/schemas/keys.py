"""Wire types of public keys."""

from pydantic import Field

from app.schemas.base import Read


class PublicKey(Read):
    """The public half of a key of access tokens (RFC 8037)."""

    kty: str = Field(examples=["OKP"])
    crv: str = Field(examples=["Ed25519"])
    x: str
    kid: str = Field(description="Its thumbprint (RFC 7638).")
    use: str = Field(examples=["sig"])
    alg: str = Field(examples=["EdDSA"])


class PublicKeySet(Read):
    """A JSON Web Key Set (RFC 7517, section 5)."""

    keys: list[PublicKey]
