"""Which addresses requests that users cause may reach: public ones, and those that the operator allows."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Self

from app.core.errors import Invalid, StartupFailed

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class ForbiddenAddress(Invalid):
    """The address is none that a user may have this server reach."""

    code = "forbidden_address"


# The IANA registry of special-purpose addresses, multicast, and what clouds answer themselves at a public address.
_SPECIAL_IPV4 = [
    IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32"),
    )
]
# Only global unicast is public, without documentation, Teredo and its like, and 6to4. IPv4-mapped addresses, NAT64,
# unique local (`fd00:ec2::254` is one), link-local and multicast addresses lie outside it.
_GLOBAL_IPV6 = IPv6Network("2000::/3")
_SPECIAL_IPV6 = [IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]

_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?", re.IGNORECASE)


def is_public(address: Address) -> bool:
    """Whether anybody's packets could reach it over the internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    return address in _GLOBAL_IPV6 and not any(address in network for network in _SPECIAL_IPV6)


def address_in(host: str) -> Address | None:
    """The address that a URL's host spells; None for a name.

    Raise `ForbiddenAddress` for what only some programs take for an address (`127.1`, `0x7f.1`, `2130706433`): a host
    whose last part is a number is an address (WHATWG URL, "ends in a number"), and it must be spelled as such.
    """
    try:
        if ":" in host and "%" not in host:
            return IPv6Address(host)
        if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            return IPv4Address(host)
    except ValueError:
        pass
    else:
        if _NAME.fullmatch(host):
            return None
    raise ForbiddenAddress(f"{host[:100]!r} is neither a name nor a plainly spelled address")


def is_local_name(host: str) -> bool:
    """Whether the name means this machine whatever a resolver says (RFC 6761)."""
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the operator allows besides public addresses: names and networks, each at one port or (None) at all."""

    names: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[Network, int | None], ...] = ()

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Read `ARENA_OUTGOING_ALLOW`: `host`, `host:port` or a network, separated by commas."""
        names, networks = [], []
        for entry in (text or "").split(","):
            if not entry.strip():
                continue
            host, port = _entry(entry.strip())
            if isinstance(host, str):
                names.append((host, port))
            else:
                networks.append((host, port))
        return cls(frozenset(names), tuple(networks))

    def allows_name(self, host: str, port: int) -> bool:
        """Whether that name may be reached wherever it leads."""
        name = host.rstrip(".").lower()
        return (name, None) in self.names or (name, port) in self.names

    def permits(self, address: Address, port: int) -> bool:
        """Whether the address may be reached."""
        return is_public(address) or any(
            address in network and only_port in {None, port} for network, only_port in self.networks
        )


def _entry(entry: str) -> tuple[str | Network, int | None]:
    host, port = _split_port(entry)
    try:
        if "/" in host:
            return ip_network(host, strict=False), port
        address = address_in(host)
    except (ValueError, ForbiddenAddress):
        raise StartupFailed(f"ARENA_OUTGOING_ALLOW: {entry!r} is no host, host:port or network") from None
    return (host.rstrip(".").lower() if address is None else ip_network(address)), port


def _split_port(entry: str) -> tuple[str, int | None]:
    """`host:port`, `[v6]:port`, `[v6]`; a bare IPv6 address or network has colons and no port."""
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        port = rest.removeprefix(":")
    elif entry.count(":") == 1:
        host, _, port = entry.partition(":")
    else:
        return entry, None
    if not port:
        return host, None
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise StartupFailed(f"ARENA_OUTGOING_ALLOW: {entry!r} has no port number after its colon")
    return host, int(port)
