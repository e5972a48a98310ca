"""Wire types of the health routes."""

from typing import Literal

from app.schemas.base import Read


class Alive(Read):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(Read):
    """Whether the process can do its work, and the state of each dependency."""

    status: Literal["ready", "not ready"]
    dependencies: dict[str, Literal["ok", "away"]]
