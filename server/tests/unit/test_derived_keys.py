"""Keys are derived as the standard says, by its own example and beside another implementation."""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from app.core.derived_keys import derive_key

# RFC 5869, A.3: the first 32 of its 42 bytes.
EXAMPLE = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"


def test_a_key_is_that_of_the_standards_example():
    assert derive_key("\x0b" * 22, "").hex() == EXAMPLE


@given(st.text(max_size=200), st.text(max_size=100))
def test_any_key_is_that_of_another_implementation(secret, purpose):
    other = HKDF(hashes.SHA256(), 32, salt=None, info=purpose.encode())

    assert derive_key(secret, purpose) == other.derive(secret.encode())
