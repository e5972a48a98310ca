"""What can be wrong with a turn policy's configuration."""

from app.core.errors import Invalid


class InvalidTurnPolicy(Invalid):
    """The policy cannot work like that at this table; `path` is inside `turn_policy`."""

    code = "invalid_turn_policy"

    def __init__(self, detail: str, *path: str | int) -> None:
        super().__init__(detail, "turn_policy", *path)


class UnknownParticipant(Invalid):
    """A reference names nobody at the table."""

    code = "unknown_participant"


class UnknownTurnPolicy(InvalidTurnPolicy):
    """There is no policy of that name, or its plugin cannot be loaded."""

    code = "unknown_turn_policy"
