"""What a viewer may read, asked anew while they watch, so that nobody watches on with rights that they lost."""

from collections.abc import Awaitable, Callable
from time import monotonic

from app.core.errors import Unavailable
from app.domain.visibility import Reader
from app.services.live.position import Position

ASK_SECONDS = 2.0


class Viewing:
    """One open stream's rights; `ask` gives the viewer's present ones, None if they may read nothing any more."""

    def __init__(self, ask: Callable[[], Awaitable[Reader | None]], clock: Callable[[], float] = monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._asked_at = clock()
        self.is_over = False

    async def may_go_on(self, position: Position) -> bool:
        """Give the position the viewer's rights as they were at most `ASK_SECONDS` ago; False if there are none left.

        To be called before anything is shown. While the database is away, nobody's rights change.
        """
        if self._clock() - self._asked_at < ASK_SECONDS:
            return True
        self._asked_at = self._clock()
        try:
            reader = await self._ask()
        except Unavailable:  # the hub's poll tells of it, once for all viewers
            return True
        if reader is None:
            self.is_over = True
            return False
        # It has every seat that the position was given by the log: those events were committed before it was asked.
        position.reader = reader
        return True
