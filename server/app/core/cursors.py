"""Page cursors: opaque to clients, and nothing but a position inside."""

import base64
import binascii

from app.core.errors import Invalid


class BadCursor(Invalid):
    """The cursor was not made by this API."""

    code = "bad_cursor"


def encode_cursor(position: str) -> str:
    return base64.urlsafe_b64encode(position.encode()).rstrip(b"=").decode()


def decode_cursor(cursor: str) -> str:
    """The position inside; raise `BadCursor` if it is not one of ours."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        position = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (UnicodeError, binascii.Error):
        raise BadCursor("the cursor is malformed; take `next_cursor` from a page as it is") from None
    if encode_cursor(position) != cursor:
        raise BadCursor("the cursor is malformed; take `next_cursor` from a page as it is")
    return position
