"""Headers as the server hands them over, without an object around them."""

from starlette.types import Scope


def header_of(scope: Scope, wanted: bytes) -> bytes:
    """The first header of that name, which is in small letters; empty without one."""
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value)
    return b""
