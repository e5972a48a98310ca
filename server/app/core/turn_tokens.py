"""Turn tokens: the right to say exactly one message, in one turn, from one seat.

Nothing is stored. A token is sealed with a key derived from the installation's newest, and read with any that it still
has; whether its turn is still open is asked of the discussion's row.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from struct import Struct
from uuid import UUID

from app.core.derived_keys import DerivedKeys, SecretKeys

TOKEN_PREFIX = "arena_tt_"  # noqa: S105 - what a token begins with
_RIGHT = Struct(">16s16sI16s16s")


@dataclass(frozen=True, slots=True)
class TurnRight:
    """What a token allows: `floor_id` is new each time that somebody from outside is given the floor."""

    workspace_id: UUID
    discussion_id: UUID
    turn: int
    participant_id: UUID
    floor_id: UUID


class TurnTokens:
    """Makes and reads tokens."""

    def __init__(self, secret_keys: SecretKeys) -> None:
        self._keys = DerivedKeys.of(secret_keys, "arena turn tokens 1")

    def make(self, right: TurnRight) -> str:
        packed = _RIGHT.pack(
            right.workspace_id.bytes,
            right.discussion_id.bytes,
            right.turn,
            right.participant_id.bytes,
            right.floor_id.bytes,
        )
        return _text(packed + self._keys.seal(packed))

    def read(self, token: str) -> TurnRight | None:
        """The right, None for a token that this installation did not make."""
        try:
            raw = urlsafe_b64decode(token.removeprefix(TOKEN_PREFIX).encode("ascii") + b"==")
        except ValueError:
            return None
        packed, seal = raw[: _RIGHT.size], raw[_RIGHT.size :]
        # Decoding overlooks what is no base64, so that many texts would be the same token.
        # nosemgrep: a-secret-is-compared-in-constant-time - with itself, and only once the seal is found right
        if not self._keys.made(seal, packed) or token != _text(raw):
            return None
        workspace, discussion, turn, participant, floor = _RIGHT.unpack(packed)
        return TurnRight(
            UUID(bytes=workspace), UUID(bytes=discussion), turn, UUID(bytes=participant), UUID(bytes=floor)
        )


def _text(raw: bytes) -> str:
    return TOKEN_PREFIX + urlsafe_b64encode(raw).decode().rstrip("=")
