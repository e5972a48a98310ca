"""Turn tokens and webhook secrets: made from the installation's key, and from nothing else."""

import hashlib
import hmac
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.derived_keys import SecretKeys
from app.core.turn_tokens import TOKEN_PREFIX, TurnRight, TurnTokens
from app.core.webhooks import WebhookSigner

KEY, OTHER_KEY = SecretKeys(["k" * 32]), SecretKeys(["o" * 32])
BOTH_KEYS = SecretKeys([*OTHER_KEY, *KEY])
TOKENS = TurnTokens(KEY)
AGENT = UUID("019a0000-0000-7000-8000-000000000001")

rights = st.builds(TurnRight, st.uuids(), st.uuids(), st.integers(1, 10_001), st.uuids(), st.uuids())


@given(rights)
def test_a_token_says_what_it_was_made_for(right):
    assert TOKENS.read(TOKENS.make(right)) == right


@given(rights)
def test_another_installations_token_is_none(right):
    assert TurnTokens(OTHER_KEY).read(TOKENS.make(right)) is None


@given(rights)
def test_a_token_outlives_its_secret_key_as_long_as_that_is_named(right):
    successor = TurnTokens(BOTH_KEYS)

    assert successor.read(TOKENS.make(right)) == right
    assert TOKENS.read(successor.make(right)) is None


@given(rights, st.data())
def test_a_token_with_any_character_changed_is_none(right, data):
    token = TOKENS.make(right)
    place = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.characters().filter(lambda one: one != token[place]))

    assert TOKENS.read(token[:place] + character + token[place + 1 :]) is None


@given(st.text(max_size=400))
def test_no_text_is_a_token_by_chance(text):
    assert TOKENS.read(text) is None
    assert TOKENS.read(TOKEN_PREFIX + text) is None


@pytest.mark.parametrize("extra", ["=", "==", "A", " ", "\n", "!", "é"])
def test_a_token_with_something_behind_it_is_none(extra):
    token = TOKENS.make(TurnRight(uuid4(), uuid4(), 3, uuid4(), uuid4()))

    assert TOKENS.read(token + extra) is None


def test_a_secret_follows_from_the_key_and_the_agent():
    secret = WebhookSigner(KEY).secret_of(AGENT)

    assert secret.startswith("arena_whsec_")
    assert secret == WebhookSigner(KEY).secret_of(AGENT)
    assert secret != WebhookSigner(OTHER_KEY).secret_of(AGENT)
    assert secret != WebhookSigner(KEY).secret_of(uuid4())


def test_a_signature_is_the_hmac_of_time_and_body():
    signer = WebhookSigner(KEY)
    wanted = hmac.new(signer.secret_of(AGENT).encode(), b'1700000000.{"a":1}', hashlib.sha256).hexdigest()

    assert signer.sign(AGENT, b'{"a":1}', 1_700_000_000) == f"t=1700000000,v1={wanted}"


def test_while_a_secret_key_gives_way_to_another_webhooks_are_signed_with_both():
    """The receiver of an agent that was made before knows only the former secret."""
    body, at = b'{"a":1}', 1_700_000_000
    former, newer = (WebhookSigner(keys).sign(AGENT, body, at).partition(",")[2] for keys in (KEY, OTHER_KEY))

    assert WebhookSigner(BOTH_KEYS).sign(AGENT, body, at) == f"t={at},{newer},{former}"
    assert WebhookSigner(BOTH_KEYS).secret_of(AGENT) == WebhookSigner(OTHER_KEY).secret_of(AGENT)
