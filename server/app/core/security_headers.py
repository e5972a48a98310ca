"""Headers that tell browsers what they may do with an answer (OWASP's secure headers), on every one of them."""

from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

JSON_POLICY = b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Of what is no page: a browser that is made to show it loads and runs nothing."""
_COMMON: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
]
_OF_DATA: Headers = [*_COMMON, (b"content-security-policy", JSON_POLICY)]
# A year; subdomains are not ours to speak for.
_ENCRYPTED: Headers = [(b"strict-transport-security", b"max-age=31536000")]
_SECURE = frozenset({"https", "wss"})
_STORED_NOWHERE = (b"cache-control", b"no-store")
# It may be kept by whoever asked, and is asked for anew each time, which a 304 answers.
_KEPT_PRIVATELY = (b"cache-control", b"private, no-cache")
OF_PROBLEMS: Headers = [*_OF_DATA, _STORED_NOWHERE]


def headers_for(scheme: str, given: Iterable[tuple[bytes, bytes]]) -> Headers:
    """What is to be added to an answer that has the `given` headers; its own policies and caching stand."""
    names = {name.lower() for name, _value in given}
    added = [*(_COMMON if b"content-security-policy" in names else _OF_DATA)]
    if b"cache-control" not in names:
        added.append(_KEPT_PRIVATELY if b"etag" in names else _STORED_NOWHERE)
    if scheme in _SECURE:
        added += _ENCRYPTED
    return added
