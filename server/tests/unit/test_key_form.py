"""What an API key looks like, and that nothing else passes for one."""

import string
import zlib

import pytest

from app.core.access_tokens import InvalidToken
from app.core.api_keys import digest_of_key, hint_of, looks_like_key, make_key
from app.core.security import digest_of

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


def test_a_key_is_32_random_bytes_between_its_prefix_and_its_checksum():
    key = make_key()

    assert (len(key), key[:9]) == (9 + 43 + 6, "arena_sk_")
    number = 0
    for character in key[-6:]:
        number = number * 62 + ALPHABET.index(character)
    assert number == zlib.crc32(key[:-6].encode())
    assert digest_of_key(key) == digest_of(key)
    assert hint_of(key) == key[:13]


def test_no_two_keys_are_alike():
    assert len({make_key()[9:-6] for _ in range(1000)}) == 1000


@pytest.mark.parametrize("place", range(9, 58))
def test_one_wrong_character_anywhere_is_noticed_without_looking_it_up(place):
    key = make_key()
    other = "a" if key[place] != "a" else "b"

    with pytest.raises(InvalidToken):
        digest_of_key(key[:place] + other + key[place + 1 :])


@pytest.mark.parametrize("rest", ["", "x", "é" * 49, "\x00" * 49, "A" * 1_000_000, "../" * 16 + "a", "０" * 49])
def test_whatever_follows_the_prefix_is_refused(rest):
    assert looks_like_key("arena_sk_" + rest)

    with pytest.raises(InvalidToken):
        digest_of_key("arena_sk_" + rest)


def test_nothing_may_stand_around_a_key():
    key = make_key()

    for text in (f"{key}\n", f" {key}", f"{key}{key}", key[:-1], key.upper()):
        with pytest.raises(InvalidToken):
            digest_of_key(text)
