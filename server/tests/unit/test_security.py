"""Passwords and refresh tokens: what is ours is read, whatever has been touched is refused."""

from contextlib import suppress
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pwdlib import PasswordHash

from app.core.derived_keys import DerivedKeys
from app.core.security import (
    RefreshToken,
    WeakPassword,
    check_password_strength,
    hash_password,
    verify_password,
)

KEYS = DerivedKeys([b"key"])


def test_a_refresh_token_reads_back_as_it_was_made():
    made = RefreshToken.make(uuid4(), 7, KEYS)

    assert RefreshToken.parse(str(made)) == made


def test_a_refresh_token_matches_only_its_own_digest():
    session = uuid4()
    one, other = RefreshToken.make(session, 1, KEYS), RefreshToken.make(session, 1, KEYS)

    assert one.matches(one.digest)
    assert not one.matches(other.digest)


def test_a_refresh_token_is_ours_as_long_as_its_secret_key_is_named():
    made = RefreshToken.make(uuid4(), 1, KEYS)

    assert made.is_ours(KEYS)
    assert made.is_ours(DerivedKeys([b"newer", b"key"]))
    assert not made.is_ours(DerivedKeys([b"newer"]))
    assert not RefreshToken(made.session_id, 2, made.nonce, made.seal).is_ours(KEYS)


@given(garbage=st.one_of(st.text(), st.text().map(lambda text: f"arena_rt_{text}")))
def test_garbage_is_no_refresh_token(garbage):
    parsed = RefreshToken.parse(garbage)

    assert parsed is None or isinstance(parsed.session_id, UUID)


@pytest.mark.parametrize(
    "text",
    [
        *("", "arena_rt_", f"{'0' * 32}.1.x", f"arena_rt_{'0' * 32}.1.", f"arena_rt_{'0' * 32}.-1.x"),
        *(f"arena_rt_{'0' * 32}.x.y", f"arena_rt_{'0' * 32}.².y", "arena_rt_none.1.x", f"arena_rt_{'0' * 32}"),
    ],
)
def test_what_is_not_of_its_form_is_no_refresh_token(text):
    assert RefreshToken.parse(text) is None


@pytest.mark.parametrize(
    "password", ["correcthorsebatterystaple", "Tr0ub4dor&3 and more", "日本語のとても長い合言葉です"]
)
def test_a_good_password_is_accepted(password):
    check_password_strength(password, email="ada@arena.example", display_name="Ada Byron")


@given(password=st.text("0123456789 /.-\n\r\t\v\u0085\u2028٣²Ⅷaß", min_size=12, max_size=40))
@example(password="a quiet harbour 1234\nlamps")
def test_any_characters_in_any_order_are_judged(password):
    with suppress(WeakPassword):
        check_password_strength(password, email="ada@arena.example", display_name="Ada Byron")


@pytest.mark.parametrize(
    "password",
    ["Password1234", "qwertyuiop12", "123456789012", "aaaaaaaaaaaa", "ADA@ARENA.EXAMPLE", "ada byron"],
)
def test_a_password_that_comes_to_mind_first_is_refused(password):
    with pytest.raises(WeakPassword):
        check_password_strength(password, email="ada@arena.example", display_name="Ada Byron")


@pytest.mark.parametrize(
    "password",
    [
        "discussionarena",
        "Discussion Arena",
        "discussion-arena",
        "arenaarenaarena",
        "talk.acme.example",
        "DiscussionArena1",
    ],
)
def test_a_password_of_what_the_installation_is_called_is_refused(password):
    with pytest.raises(WeakPassword):
        check_password_strength(
            password, email="ada@home.example", display_name="Ada", public_url="https://talk.acme.example:8443/app"
        )


def test_a_host_is_no_word_of_an_installation_elsewhere():
    check_password_strength("talk.acme.example", email="ada@home.example", display_name="Ada")


@pytest.mark.anyio
async def test_a_password_hash_is_argon2id_and_never_twice_the_same(monkeypatch):
    monkeypatch.setattr("app.core.security._HASHER", PasswordHash.recommended())
    one, other = await hash_password("a password"), await hash_password("a password")

    assert one.startswith("$argon2id$v=19$m=65536,")
    assert one != other
    assert await verify_password("a password", one)
    assert not await verify_password("another password", one)


@pytest.mark.anyio
async def test_an_unknown_user_has_no_password():
    assert not await verify_password("anything", None)
