"""Forms with files, read from a body that is whole: what is in them, and what is no form."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.multipart import MOST_PARTS, BadForm, parse_form

TYPE = "multipart/form-data; boundary=xyz"


def part(name, data, *, file_name=None, media_type=None, boundary=b"xyz"):
    head = f'Content-Disposition: form-data; name="{name}"'
    head += f'; filename="{file_name}"' if file_name is not None else ""
    head += f"\r\nContent-Type: {media_type}" if media_type else ""
    return b"--" + boundary + b"\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n"


def test_fields_and_files_come_in_their_order():
    body = part("title", b"Memo") + part("file", b"%PDF", file_name="a ü.pdf", media_type="application/pdf")

    title, file = parse_form(TYPE, body + b"--xyz--\r\n")

    assert (title.name, title.file_name, bytes(title.data)) == ("title", None, b"Memo")
    assert (file.file_name, file.media_type, bytes(file.data)) == ("a ü.pdf", "application/pdf", b"%PDF")


@given(st.binary(max_size=300).filter(lambda data: b"--xyz" not in data))
def test_any_bytes_come_back_as_they_went(data):
    [file] = parse_form(TYPE, part("file", data, file_name="a") + b"--xyz--")

    assert bytes(file.data) == data


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_form_or_is_none(body):
    with suppress(BadForm):
        parse_form(TYPE, body)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"--xyz", b"--xyz\r\n", b"--xyz--"[:6], part("file", b"data"), b"--xyz\r\n\r\ndata\r\n--xyz--"),
        b"--xyz\r\nContent-Disposition: attachment; name=a\r\n\r\n\r\n--xyz--",
        b"--xyz\r\nContent-Disposition: form-data\r\n\r\n\r\n--xyz--",
        b"--xyz\r\n" + b"X: " + b"y" * 5000 + b"\r\n\r\n\r\n--xyz--",
        b"".join(part(f"f{n}", b"") for n in range(MOST_PARTS + 1)) + b"--xyz--",
    ],
)
def test_what_is_no_form_is_refused(body):
    with pytest.raises(BadForm):
        parse_form(TYPE, body)


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=", TYPE + "é"])
def test_a_form_must_say_what_separates_its_parts(content_type):
    with pytest.raises(BadForm):
        parse_form(content_type, b"--xyz--")


def test_no_form_takes_long():
    body = part("file", b"\r\n--xy" * 2_000_000, file_name="a") + b"--xyz--"
    began = time.perf_counter()

    [file] = parse_form(TYPE, body)

    assert len(file.data) == 12_000_000
    assert time.perf_counter() - began < 2
