"""Forms with files (`multipart/form-data`, RFC 7578), of a body that is whole already.

Libraries read such a body piece by piece, copy its files to the disk, and call back for each line end in them. Here a
file is a view into the body: nothing is copied, and the time taken is that of finding the boundary.
"""

import re
from dataclasses import dataclass

from python_multipart.multipart import parse_options_header

from app.core.errors import Invalid

MEDIA_TYPE = "multipart/form-data"
MOST_PARTS = 16
MOST_HEAD_BYTES = 4096
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")


class BadForm(Invalid):
    """The body is no form as its head says it is."""

    code = "malformed_form"


@dataclass(frozen=True, slots=True)
class Part:
    """A field of the form; `file_name` is None unless it is a file."""

    name: str
    file_name: str | None
    media_type: str | None
    data: memoryview


def is_form(content_type: str) -> bool:
    """Whether a body of that type is such a form."""
    return content_type.partition(";")[0].strip().lower() == MEDIA_TYPE


def boundary_of(content_type: str) -> bytes:
    """What separates the parts; raise `BadForm`."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if _BOUNDARY.fullmatch(boundary) is None:
        raise BadForm("the Content-Type names no boundary between the parts of the form")
    return boundary


def parse_form(content_type: str, body: bytes) -> list[Part]:
    """The parts in their order; raise `BadForm`."""
    dash = b"--" + boundary_of(content_type)
    line = b"\r\n" + dash
    # The first boundary stands at the beginning, or ends a preamble that is nobody's.
    at = 0 if body.startswith(dash) else body.find(line) + len(b"\r\n")
    if at == 1:
        raise BadForm("the boundary that the Content-Type names is not in the form")
    parts: list[Part] = []
    while True:
        at += len(dash)
        if body.startswith(b"--", at):
            return parts
        begin = body.find(b"\r\n", at, at + MOST_HEAD_BYTES)
        end = body.find(line, begin)
        if begin < 0 or end < 0 or body[at:begin].strip(b" \t"):
            raise BadForm("the form ends in the midst of a part")
        if len(parts) == MOST_PARTS:
            raise BadForm(f"the form has more than {MOST_PARTS} parts")
        parts.append(_part(body, begin, end))
        at = end + len(b"\r\n")


def _part(body: bytes, begin: int, end: int) -> Part:
    """The part between two boundaries; its head begins at the line end after the first."""
    blank = body.find(b"\r\n\r\n", begin, min(end + len(b"\r\n\r\n"), begin + MOST_HEAD_BYTES))
    if blank < 0:
        raise BadForm("a part of the form has no head, or a very long one")
    heads = _heads(body[begin:blank])
    kind, options = parse_options_header(heads.get(b"content-disposition", b""))
    if kind != b"form-data" or b"name" not in options:
        raise BadForm("a part of the form does not say which field it is")
    file_name, media_type = options.get(b"filename"), heads.get(b"content-type")
    data = memoryview(body)[min(blank + len(b"\r\n\r\n"), end) : end]
    return Part(
        _text(options[b"name"]),
        None if file_name is None else _text(file_name),
        None if media_type is None else _text(media_type),
        data,
    )


def _heads(head: bytes) -> dict[bytes, bytes]:
    lines = (line.partition(b":") for line in head.split(b"\r\n"))
    return {name.strip().lower(): value.strip() for name, _, value in lines if name}


def _text(given: bytes) -> str:
    try:
        return given.decode()
    except UnicodeDecodeError:
        raise BadForm("a part of the form has a name that is not in UTF-8") from None
