"""What a device says of itself is shown to people, so it is made harmless."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.visits import Visit, readable_device


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Mozilla/5.0 (X11)", "Mozilla/5.0 (X11)"),
        ("  a \t b\r\n c\x00d\x1b[31m ", "a b c d [31m"),
        ("evil\u202egnp.exe", "evil gnp.exe"),
        ("", None),
        (" \t\x7f\x85", None),
        (None, None),
    ],
)
def test_a_device_is_shown_on_one_printable_line(said, shown):
    assert readable_device(said) == shown


@given(st.text(max_size=500))
def test_whatever_is_said_is_one_line_of_at_most_200_characters(said):
    shown = readable_device(said)

    assert shown is None or (0 < len(shown) <= 200 and shown.isprintable() and shown == shown.strip())


def test_a_visit_without_a_peer_has_no_address():
    assert Visit.of("curl/8", None) == Visit("curl/8", None)
