"""Page cursors: opaque to clients; inside are the list that they belong to and a position in it."""

import base64
import binascii
from uuid import UUID

from app.core.errors import Invalid

MALFORMED = "the cursor is malformed; take `next_cursor` from a page as it is"
MOST_DIGITS = 9


class BadCursor(Invalid):
    """The cursor was not made by this API, or for another list or another order."""

    code = "bad_cursor"
    where = ("query", "cursor")


def encode_cursor(of_list: str, *position: object) -> str:
    """The cursor of a position in that list, whose parts hold no colon."""
    text = ":".join((of_list, *map(str, position)))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decode_cursor(cursor: str, of_list: str) -> list[str]:
    """The position's parts; raise `BadCursor` if it is none that was made for this list."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (UnicodeError, binascii.Error):
        raise BadCursor(MALFORMED) from None
    found, *position = text.split(":")
    if found != of_list:
        raise BadCursor("the cursor belongs to another list")
    if encode_cursor(found, *position) != cursor:
        raise BadCursor(MALFORMED)
    return position


def decode_numbers(cursor: str, of_list: str, count: int = 1) -> list[int]:
    """The same for a position of so many numbers."""
    position = decode_cursor(cursor, of_list)
    if len(position) != count or not all(n.isascii() and n.isdigit() and len(n) <= MOST_DIGITS for n in position):
        raise BadCursor(MALFORMED)
    return [int(number) for number in position]


def decode_id(cursor: str, of_list: str) -> UUID:
    """The same for a position that is an id."""
    try:
        [position] = decode_cursor(cursor, of_list)
        return UUID(position)
    except ValueError:
        raise BadCursor(MALFORMED) from None
