"""Server-sent events, from bytes as they arrive to the data of whole events."""

MAX_LINE_BYTES = 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class OversizedEventError(ValueError):
    """A line, or the lines of one event, exceed the bound."""


class SseParser:
    """Gives the same events however the stream is cut: between the bytes of a character, or of a CRLF.

    Only `data` fields are kept: model providers put everything there. Lines end with LF, CRLF or CR.
    """

    __slots__ = ("_data", "_max_bytes", "_skip_lf", "_started", "_tail")

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_bytes = max_line_bytes
        self._tail = bytearray()  # a line without its end
        self._data: bytes | None = None  # of the event whose blank line has not come
        self._skip_lf = False
        self._started = False

    def feed(self, received: bytes) -> list[bytes]:
        """Return the data of the events that `received` completes; raise `OversizedEventError`."""
        if self._skip_lf or b"\r" in received:
            received = self._with_lf_only(received)
        if self._tail:
            if b"\n" not in received:
                self._keep(received)
                return []
            received = bytes(self._tail) + received
            self._tail.clear()
        lines = received.split(b"\n")
        self._keep(lines.pop())
        if not self._started and lines:
            self._started = True
            lines[0] = lines[0].removeprefix(_BOM)
        return self._events(lines)

    def finish(self) -> list[bytes]:
        """Return what the end of the stream completes: careless servers leave out the last blank line."""
        if self._tail.removeprefix(b"data:").strip() == b"[DONE]":
            return [*self._events([b""]), b"[DONE]"]
        return self._events([b""])

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events = []
        data = self._data
        for line in lines:
            if not line:
                if data is not None:
                    events.append(data)
                    data = None
            elif line[:5] == b"data:":
                value = line[6:] if line[5:6] == b" " else line[5:]
                if len(value) > self._max_bytes:
                    raise OversizedEventError
                data = value if data is None else self._joined(data, value)
        self._data = data
        return events

    def _joined(self, data: bytes, value: bytes) -> bytes:
        if len(data) + len(value) > self._max_bytes:
            raise OversizedEventError
        return data + b"\n" + value

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._tail += rest
            if len(self._tail) > self._max_bytes:
                raise OversizedEventError

    def _with_lf_only(self, received: bytes) -> bytes:
        if self._skip_lf and received:
            received = received.removeprefix(b"\n")
        self._skip_lf = received.endswith(b"\r")  # the LF of a CRLF may be in the next read
        return received.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
