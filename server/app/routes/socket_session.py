"""One open WebSocket: its frames are answered one after another, its channels shown side by side.

Always holds: rights are looked at with every frame, and of what is shown every second; a channel that is refused or
ends leaves the socket and its other channels as they are.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from uuid import UUID

import structlog
from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect

from app.core.admission import Overloaded, Places
from app.core.errors import (
    ArenaError,
    Conflict,
    NotFound,
    RateLimited,
    TimedOut,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from app.core.requests import LoadClass, RateClass
from app.dependencies import Services
from app.domain.permissions import Permission
from app.routes.socket_frames import (
    answer,
    as_event_frames,
    error_frame,
    event_frame_of,
    read_frame,
    receive_text,
    ref_of,
    send,
)
from app.schemas.message import MessageCreate
from app.schemas.socket import AuthFrame, ClientFrame, MessageFrame, SubscribeFrame, UnsubscribeFrame
from app.services.callers import Actor, CurrentUser
from app.services.live.hub import Following
from app.services.live.position import Position
from app.services.live.streams import Standing, Stream, standing_of
from app.services.live.viewer import Viewer

log = structlog.stdlib.get_logger(__name__)

DISCUSSION = "discussion:"
UNEXPECTED = "something went wrong here; the request id finds it in the logs"


class AlreadySubscribed(Conflict):
    """The channel is shown on this socket already."""

    code = "already_subscribed"


class NotSubscribed(NotFound):
    """The channel is not shown on this socket."""

    code = "not_subscribed"


class AlreadyAuthenticated(Conflict):
    """A socket is one person's, from its beginning to its end."""

    code = "already_authenticated"


class TooManyChannels(RateLimited):
    """The socket shows as many channels as one may."""

    code = "too_many_channels"


class ServerOverloaded(Unavailable):
    """There is no place for what a frame asks now."""

    code = "overloaded"


class TooSlow(TimedOut):
    """The client took nothing for too long."""

    code = "stream_lagged"


class SocketSession:
    """Belongs to the session that opened it, and ends with it."""

    def __init__(self, websocket: WebSocket, services: Services, user: CurrentUser) -> None:
        self._websocket = websocket
        self._services = services
        self._user = user
        self._settings = services.settings.server
        self._stream = Stream(Standing(user.credential_id, user.user.id), life_seconds=self._settings.stream_seconds)
        self._channels: dict[str, tuple[asyncio.Task[None], AsyncExitStack]] = {}

    async def serve(self) -> None:
        """Until the client leaves (`WebSocketDisconnect`), its rights end (raised), or the stream is over."""
        with self._services.streams.holding(self._stream):
            reading = asyncio.create_task(self._read())
            ending = asyncio.create_task(self._end())
            try:
                await asyncio.wait({reading, ending}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _cancel(reading, ending)
                for channel in list(self._channels):
                    await self._leave(channel)
        if not reading.cancelled():
            reading.result()
        if self._stream.refusal is not None:
            raise self._stream.refusal

    async def _end(self) -> None:
        while not self._stream.is_over:
            await self._stream.wait()

    async def _read(self) -> None:
        while True:
            text = ""
            try:
                text = await receive_text(self._websocket)
                await self._answer(read_frame(text))
            except (Unauthenticated, TooLarge):
                raise
            except ArenaError as error:
                await send(self._websocket, error_frame(error, ref=ref_of(text)))
            await asyncio.sleep(0)  # many frames may be there already, and none of this need have waited

    async def _answer(self, frame: ClientFrame) -> None:
        self._user = await self._services.callers.look_again(self._user)
        channel: str | None = getattr(frame, "channel", None)
        try:
            if isinstance(frame, SubscribeFrame):
                await self._subscribe(frame)
            elif isinstance(frame, UnsubscribeFrame):
                await self._unsubscribe(frame)
            elif isinstance(frame, MessageFrame):
                await self._say(frame)
            elif isinstance(frame, AuthFrame):
                raise AlreadyAuthenticated("this socket is yours already; open another to be somebody else")
            else:
                await send(self._websocket, answer("pong", frame.ref))
        except Unauthenticated:
            raise
        except ArenaError as error:
            await send(self._websocket, error_frame(error, channel, frame.ref))

    async def _subscribe(self, frame: SubscribeFrame) -> None:
        if frame.channel in self._channels:
            raise AlreadySubscribed("the channel is shown on this socket already")
        if len(self._channels) >= self._settings.socket_channels:
            raise TooManyChannels(f"a socket shows {self._settings.socket_channels} channels at most")
        position = Position.parse(frame.after) if frame.after else Position(0)
        discussion_id = _discussion_in(frame.channel)
        actor = await self._actor(discussion_id, Permission.DISCUSSIONS_READ)
        await self._services.request_limits.count(RateClass.READ, self._user, actor.workspace_id)
        position = await self._services.viewings.begin(actor, discussion_id, position)
        standing = standing_of(actor)
        viewer = Viewer(standing, discussion_id, position)
        async with AsyncExitStack() as stack:
            stack.enter_context(self._services.streams.holding(viewer))
            way = await stack.enter_async_context(self._services.hub.following(viewer))
            after = {} if frame.after is None else {"after": frame.after}
            await send(self._websocket, answer("subscribed", frame.ref, channel=frame.channel, **after))
            kept = stack.pop_all()  # the task's from now on
        self._channels[frame.channel] = asyncio.create_task(self._show(frame.channel, viewer, way, kept)), kept

    async def _show(self, channel: str, viewer: Viewer, way: Following, kept: AsyncExitStack) -> None:
        """The channel to its end; why it ended, if not because the discussion did, is told."""
        try:
            async with kept:
                await self._show_all(channel, viewer, way)
            refusal = viewer.refusal or (NotFound("the discussion was deleted") if way.is_gone else None)
            if refusal is not None and not isinstance(refusal, Unauthenticated):
                await send(self._websocket, error_frame(refusal, channel))
        except (WebSocketDisconnect, OSError):  # the reader notices too
            pass
        except ArenaError as error:
            await send(self._websocket, error_frame(error, channel))
        except Exception:
            log.exception("unexpected_error", channel=channel)
            self._stream.end(ArenaError(UNEXPECTED))
        finally:
            held = self._channels.get(channel)
            if held is not None and held[0] is asyncio.current_task():
                del self._channels[channel]

    async def _show_all(self, channel: str, viewer: Viewer, way: Following) -> None:
        head = event_frame_of(channel)
        while (step := await way.next()) is not None:
            began = monotonic()
            for rest in step.encoded(as_event_frames):
                await self._websocket.send({"type": "websocket.send", "text": head + rest})
            if monotonic() - began > self._settings.stream_stall_seconds:
                [rest] = as_event_frames([way.lagged()])
                await self._websocket.send({"type": "websocket.send", "text": head + rest})
                self._stream.end(TooSlow("nothing was taken from the socket for too long"))

    async def _unsubscribe(self, frame: UnsubscribeFrame) -> None:
        if frame.channel not in self._channels:
            raise NotSubscribed("the channel is not shown on this socket")
        await self._leave(frame.channel)
        if frame.ref is not None:
            await send(self._websocket, answer("unsubscribed", frame.ref, channel=frame.channel))

    async def _leave(self, channel: str) -> None:
        task, kept = self._channels.pop(channel)
        await _cancel(task)
        await kept.aclose()  # a task that had not begun has left nothing

    async def _say(self, frame: MessageFrame) -> None:
        discussion_id = _discussion_in(frame.channel)
        actor = await self._actor(discussion_id, Permission.DISCUSSIONS_WRITE)
        request = MessageCreate(**frame.model_dump(exclude={"type", "channel", "ref"}))
        await self._services.request_limits.count(RateClass.WRITE, self._user, actor.workspace_id)
        messages = self._services.messages
        async with self._place():
            if request.turn_token is not None:
                posted = await messages.post_with_token(actor, discussion_id, request, request.turn_token)
            else:
                posted = await messages.post(actor, discussion_id, request)
        if frame.ref is not None:
            message = posted.message.model_dump(mode="json")
            await send(self._websocket, answer("posted", frame.ref, channel=frame.channel, message=message))

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Among the requests that are worked on: speaking costs no less on a socket."""
        places: Places = self._websocket.app.state.places
        try:
            await places.take(LoadClass.INTERACTIVE)
        except Overloaded:
            raise ServerOverloaded("there is too much to do; try again shortly") from None
        try:
            yield
        finally:
            places.give_back(LoadClass.INTERACTIVE)

    async def _actor(self, discussion_id: UUID, permission: Permission) -> Actor:
        actor = await self._services.viewings.actor(self._user, discussion_id)
        actor.require(permission)
        return actor


def _discussion_in(channel: str) -> UUID:
    kind, _, name = channel.partition(":")
    try:
        # One name for each, or a discussion could be shown twice on a socket.
        if f"{kind}:" == DISCUSSION and str(UUID(name)) == name:
            return UUID(name)
    except ValueError:
        pass
    raise NotFound("there is no such channel; a discussion's is `discussion:<id>`")


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
