"""HTTP/1.1 at the door: who is too slow, too large or not HTTP is turned away before the application hears of it.

uvicorn's protocol bounds neither a request's head nor the time that its sending takes, and its parser keeps a header in
memory until it is whole. Here a head and a body each have a time to arrive in (a body's grows with what has come, as
with Apache's `RequestReadTimeout`), a head has a size, and a process has a number of connections. What is refused is
told so in problem+json, and what the client still sends is read and dropped for a moment, or it would see a broken
connection instead of the answer.
"""

from asyncio import TimerHandle, Transport
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import orjson
import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.core.security_headers import OF_PROBLEMS
from app.core.titles import title_of

log = structlog.stdlib.get_logger(__name__)

LINGER_SECONDS = 2.0
OVERHEAD_BYTES = 4
"""Of a header line: colon, blank and line break."""
LINE_BYTES = 8_000
"""Of the address or a header of a WebSocket's handshake: its library reads little more, and does not say so."""
SAID_ONCE = (b"host", b"authorization", b"x-workspace-id")
"""Of two, one reader would take the first and another the last."""
CROWDED_SHARE, ADDRESS_SHARE = 0.5, 0.1


@dataclass
class Door:
    """What may come in, and who is in; one a process.

    Once more than half of the connections are taken, one address may hold no more than a tenth of them; `gateways` may,
    since whoever comes through one has its address.
    """

    head_seconds: float = 10
    body_seconds: float = 20
    body_bytes_per_second: int = 500
    url_bytes: int = 16_384
    head_bytes: int = 32_768
    headers: int = 100
    connections: int = 10_000
    gateways: frozenset[str] = frozenset()
    by_address: Counter[str] = field(default_factory=Counter)
    held_bytes: int = 0
    """Of messages on sockets that are not whole yet."""

    def has_room(self, taken: int, address: str) -> bool:
        """Whether one more may come from that address, which is counted already, as it is in `taken`."""
        if taken > self.connections:
            return False
        if taken <= self.connections * CROWDED_SHARE or address in self.gateways:
            return True
        return self.by_address[address] <= self.connections * ADDRESS_SHARE

    def enter(self, address: str) -> None:
        self.by_address[address] += 1

    def leave(self, address: str) -> None:
        self.by_address[address] -= 1
        if self.by_address[address] <= 0:
            del self.by_address[address]


def door_of_server(config: Config) -> Door:
    """`app.state.door` of the server's application, if it has one."""
    return getattr(getattr(config.app, "state", None), "door", None) or Door()


class _Refused(Exception):
    """Ends the parser's work; the answer is in the protocol."""


class GuardedHttp(HttpToolsProtocol):
    """uvicorn's protocol with a door."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._door = door_of_server(self.config)
        self._address = ""
        self._refusal: tuple[int, str, str] | None = None
        self._is_dropping = False
        self._answering: RequestResponseCycle | None = None
        self._timer: TimerHandle | None = None
        self._in_head, self._has_begun = True, False
        self._head_bytes = self._headers = self._header_bytes = self._body_bytes = 0
        self._body_since = 0.0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Count it in; there is a time to say something in."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._door.enter(self._address)
        if self._door.has_room(len(self.connections), self._address):
            self._await_head()
            return
        self._is_dropping = True
        transport.write(_answer(503, "overloaded", "there are too many connections; try again shortly"))
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it out."""
        self._stop_timer()
        self._count_out()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, unless all has been said; what is not whole now has a time to become so."""
        if self._is_dropping:
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self._is_dropping or self.parser is None or self.transport.get_protocol() is not self:
            return
        # The parser itself would keep a header of any size until its end.
        if self._in_head and self._head_bytes > self._door.head_bytes + self._door.url_bytes:
            self._turn_away(431, "headers_too_large", "the request's head is too large")
        elif self._timer is None:
            self._await_more()

    def _await_more(self) -> None:
        if not self._in_head:
            self._body_since = self.loop.time()
            self._timer = self.loop.call_later(self._door.body_seconds, self._look_at_body)
        elif self._has_begun or not self._is_answering():
            self._await_head()

    def on_message_begin(self) -> None:
        """A head begins, perhaps behind another request in one read."""
        super().on_message_begin()
        self._has_begun = True
        self._headers = self._header_bytes = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self._door.url_bytes:
            self._refuse(414, "uri_too_long", f"the address is over the limit of {self._door.url_bytes} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. One of a chunked body's trailer only counts."""
        if self._in_head:  # or it would be taken for one that was there when the request was let in (RFC 9110, 6.5.1)
            super().on_header(name, value)
        self._headers += 1
        self._header_bytes += len(name) + len(value) + OVERHEAD_BYTES
        if self._headers > self._door.headers:
            self._refuse(431, "headers_too_large", f"there are more than {self._door.headers} headers")
        if self._header_bytes > self._door.head_bytes:
            self._refuse(431, "headers_too_large", f"the headers are over the limit of {self._door.head_bytes} bytes")

    def on_headers_complete(self) -> None:
        """The head is whole: the body has its own time."""
        names = [name for name, _value in self.headers]
        for name in SAID_ONCE:
            if names.count(name) > 1:
                self._refuse(400, "malformed_request", f"there is more than one {name.decode()} header")
        if self._get_upgrade() == b"websocket":
            self._check_handshake()
        self._in_head = self._has_begun = False
        self._body_bytes = 0
        self._stop_timer()
        super().on_headers_complete()

    def _check_handshake(self) -> None:
        """Refuse what the WebSocket library would neither take nor answer."""
        names = {name for name, value in self.headers if value != b"0"}
        if not names.isdisjoint({b"transfer-encoding", b"content-length"}):
            self._refuse(400, "malformed_request", "a handshake has no body")
        if len(self.url) > LINE_BYTES:
            self._refuse(414, "uri_too_long", f"the address is over the limit of {LINE_BYTES} bytes")
        if any(len(name) + len(value) > LINE_BYTES for name, value in self.headers):
            self._refuse(431, "headers_too_large", f"a header is over the limit of {LINE_BYTES} bytes")
        if self._is_answering():
            self._refuse(400, "malformed_request", "the request before it is still to be answered")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop_timer()
        self._in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """What comes now is another protocol's (`core/paced_websocket.py`), which counts it in."""
        self._stop_timer()
        self._count_out()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or was refused while it was parsed."""
        self._turn_away(*(self._refusal or (400, "malformed_request", "this is no valid HTTP/1.1 request")))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _refuse(self, status: int, code: str, detail: str) -> None:
        self._refusal = (status, code, detail)
        raise _Refused

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(self._door.head_seconds, self._give_up_head)

    def _give_up_head(self) -> None:
        self._timer = None
        if self.flow.read_paused:  # it is we who do not read
            self._await_head()
        elif self._has_begun:
            self._turn_away(408, "timed_out", f"the request's head did not come within {self._door.head_seconds:g} s")
        elif not self._is_answering():
            self.transport.close()

    def _look_at_body(self) -> None:
        """Give it up if it comes slower than it may; while we are what it waits for, its time does not pass."""
        now = self.loop.time()
        if self.flow.read_paused:
            self._body_since, self._body_bytes = now, 0
        allowed = self._door.body_seconds + self._body_bytes / self._door.body_bytes_per_second
        if now - self._body_since < allowed:
            self._timer = self.loop.call_later(allowed - (now - self._body_since) + 0.01, self._look_at_body)
            return
        self._timer = None
        self._turn_away(408, "timed_out", "the request's body came too slowly")

    def _is_answering(self) -> bool:
        return self._answering is not None and not self._answering.response_complete

    def _turn_away(self, status: int, code: str, detail: str) -> None:
        """Answer unless an earlier request's answer is still to come or under way, and hear no more."""
        self._stop_timer()
        self._is_dropping = True
        self.pipeline.clear()
        cycle = self._answering
        if cycle is not None and self._is_answering():
            if cycle.response_started or not cycle.more_body:
                cycle.keep_alive = False
                if cycle.more_body:
                    self._leave_alone(cycle)
                return
            self._leave_alone(cycle)
        log.info("request_turned_away", status=status, code=code, address=self._address)
        self._linger(_answer(status, code, detail))

    @staticmethod
    def _leave_alone(cycle: RequestResponseCycle) -> None:
        """Tell the application that the rest of the body will never come."""
        cycle.disconnected = not cycle.response_started
        cycle.more_body = False
        cycle.message_event.set()

    def _linger(self, answer: bytes) -> None:
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self.transport.write(answer)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _count_out(self) -> None:
        if self._address is not None:
            self._door.leave(self._address)
            self._address = None  # type: ignore[assignment]


def _answer(status: int, code: str, detail: str) -> bytes:
    request_id = uuid4().hex
    body = orjson.dumps(
        {
            "type": f"/errors/{code}",
            "title": title_of(status),
            "status": status,
            "detail": detail,
            "code": code,
            "request_id": request_id,
        }
    )
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        (b"x-request-id", request_id.encode()),
        *OF_PROBLEMS,
    ]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    return STATUS_LINE[status] + b"".join(b"%b: %b\r\n" % header for header in headers) + b"\r\n" + body
