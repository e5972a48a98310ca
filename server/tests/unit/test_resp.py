"""Commands to Valkey as bytes."""

import pytest
from redis._parsers.encoders import Encoder
from redis.connection import PythonRespSerializer

from app.core.resp import packed


@pytest.mark.parametrize(
    "parts",
    [
        (b"PING",),
        (b"PUBLISH", b"arena:{x}", b"E[1]\n{}"),
        (b"SET", b"key", b""),
        (b"SET", "ключ 🦊".encode(), b"\r\n$3\r\n*1\r\n\x00\xff"),
        (b"SET", b"key", b"x" * 100_000),
        tuple(b"%d" % number for number in range(1_000)),
    ],
)
def test_a_command_is_packed_as_the_client_library_packs_it(parts):
    library = PythonRespSerializer(6000, Encoder("utf-8", "strict", decode_responses=False).encode)

    assert packed(*parts) == b"".join(library.pack(*parts))
