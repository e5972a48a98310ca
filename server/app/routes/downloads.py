"""Files that are read a page at a time while they are sent: exports and transcripts.

A place among the requests that are worked on is held while a page is read, and not while its reader takes it: a few who
take theirs slowly would otherwise keep everybody out of all lists.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from uuid import UUID

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.core.admission import PLACE, Overloaded, Places
from app.core.requests import LoadClass
from app.services.downloads import Downloads

AGAIN_SECONDS = 1.0

Pages = AsyncIterator[bytes | str]


class Download(StreamingResponse):
    """`begin` gives the pages; what it raises is answered as of any request."""

    def __init__(
        self,
        downloads: Downloads,
        user_id: UUID,
        begin: Callable[[], Awaitable[Pages]],
        *,
        media_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__((), media_type=media_type, headers=headers)
        self._downloads = downloads
        self._user_id = user_id
        self._begin = begin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._downloads.holding(self._user_id):
            pages = await self._begin()
            scope[PLACE].leave()
            self.body_iterator = _in_turn(pages, scope["app"].state.places)
            await super().__call__(scope, receive, send)


async def _in_turn(pages: Pages, places: Places) -> Pages:
    """The pages, each read once there is a place for that: an answer that has begun can only wait."""
    while True:
        try:
            await places.take(LoadClass.BULK)
        except Overloaded:
            await asyncio.sleep(AGAIN_SECONDS)
            continue
        try:
            page = await anext(pages)
        except StopAsyncIteration:
            return
        finally:
            places.give_back(LoadClass.BULK)
        yield page
