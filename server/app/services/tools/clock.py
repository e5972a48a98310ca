"""The time, in any zone."""

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from app.core.clock import utc_now
from app.services.providers.base import ToolSpec
from app.services.tools.arguments import faults_by
from app.services.tools.base import Arguments, Found, ToolFailed


class CurrentTime:
    """Language models know no time but that of their training."""

    name = "current_time"
    spec = ToolSpec(
        name,
        "Tells the date, the weekday and the time.",
        {
            "type": "object",
            "properties": {
                "time_zone": {
                    "type": "string",
                    "maxLength": 100,
                    "description": "A name of the IANA database, such as Europe/Berlin; UTC if it is left out.",
                }
            },
            "additionalProperties": False,
        },
    )
    faults = staticmethod(faults_by(spec.parameters))

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now

    async def call(self, arguments: Arguments) -> Found:
        name = arguments.get("time_zone", "UTC")
        try:
            zone = ZoneInfo(name)
        except (KeyError, ValueError, OSError):  # unknown, no name at all, or a folder of the database
            raise ToolFailed(f"there is no time zone {name!r}; names are such as Europe/Berlin or UTC") from None
        return Found(self._now().astimezone(zone).strftime(f"%A, %Y-%m-%dT%H:%M:%S%z ({name})"))
