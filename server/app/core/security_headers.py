"""Headers that tell browsers what they may do with an answer (OWASP's secure headers), on every one of them."""

from collections.abc import Iterable
from itertools import product

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
    has = dict.fromkeys(_ASKED_FOR, False)
    for name, _value in given:
        if (known := name.lower()) in has:
            has[known] = True
    return _ADDED[scheme in _SECURE, *has.values()]


def _added(*, is_secure: bool, has_policy: bool, has_caching: bool, has_etag: bool) -> Headers:
    added = [*(_COMMON if has_policy else _OF_DATA)]
    if not has_caching:
        added.append(_KEPT_PRIVATELY if has_etag else _STORED_NOWHERE)
    if is_secure:
        added += _ENCRYPTED
    return added


_ASKED_FOR = (b"content-security-policy", b"cache-control", b"etag")
_ADDED: dict[tuple[bool, ...], Headers] = {
    (secure, policy, caching, etag): _added(is_secure=secure, has_policy=policy, has_caching=caching, has_etag=etag)
    for secure, policy, caching, etag in product((False, True), repeat=4)
}
