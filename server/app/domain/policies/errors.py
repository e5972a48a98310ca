"""What can be wrong with a turn policy's configuration."""

from app.core.errors import Invalid


class _Fault(Invalid):
    """`path` leads to the fault inside the request's body."""

    def __init__(self, detail: str, *path: str | int) -> None:
        super().__init__(detail, errors=[{"loc": ["body", *path], "msg": detail, "type": self.code}])


class InvalidTurnPolicy(_Fault):
    """The policy cannot work like that at this table; `path` is inside `turn_policy`."""

    code = "invalid_turn_policy"

    def __init__(self, detail: str, *path: str | int) -> None:
        super().__init__(detail, "turn_policy", *path)


class UnknownParticipant(_Fault):
    """A reference names nobody at the table."""

    code = "unknown_participant"


class UnknownTurnPolicy(InvalidTurnPolicy):
    """There is no policy of that name, or its plugin cannot be loaded."""

    code = "unknown_turn_policy"
