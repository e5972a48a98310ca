"""Which addresses may be reached: every way to spell a private one is refused."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import StartupFailed
from app.core.public_addresses import Allowance, ForbiddenAddress, address_in, is_local_name, is_public

PRIVATE = [
    *("0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "168.63.129.16"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1"),
    *("198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::808:808"),
    *("64:ff9b:1::1", "100::1", "2001::1", "2001:0:53aa:64c:0:0:f5ff:fffe", "2001:db8::1", "2002:7f00:1::"),
    *("2002:a9fe:a9fe::1", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "5f00::1"),
]
PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "128.0.0.1"),
    *("169.253.255.255", "172.15.255.255", "172.32.0.0", "192.167.255.255", "223.255.255.255"),
    *("2606:4700:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888"),
]
NEVER_SPELLED_SO = [
    *("127.1", "127.0.1", "0x7f.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "017700000001", "0177.0.0.1"),
    *("127.0.0.01", "127.0.0.1.", "1.2.3.4.5", "256.0.0.1", "127.0.0.0x1", "0", "0x", "a.0x7f", "1.1.1.1.1.", "08"),
    *("fe80::1%eth0", "::1%25lo", ":::1", "1::2::3", "12345::", "", ".", "..", "a..b", "a b", "a/b", "a@b", "a%2eb"),
    *("127.0.0.1 ", "exa\tmple", "[::1]", "*", "²7.0.0.1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_no_special_address_is_public(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_their_neighbours_are_public(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("host", NEVER_SPELLED_SO)
def test_what_is_neither_a_name_nor_a_plain_address_is_refused(host):
    with pytest.raises(ForbiddenAddress):
        address_in(host)


@pytest.mark.parametrize("host", ["agent.example", "agent.example.", "a-1_b.example", "localhost", "x0x7f", "1a.b2"])
def test_a_name_is_no_address(host):
    assert address_in(host) is None


@given(st.ip_addresses())
def test_what_is_public_is_global_to_the_standard_library_too(address):
    if is_public(address):
        assert address.is_global
        assert not (address.is_multicast or address.is_reserved or address.is_loopback or address.is_link_local)


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:{}", "::{}", "64:ff9b::{}", "64:ff9b:1::{}"]))
def test_no_ipv6_form_that_holds_an_ipv4_address_is_public(address, form):
    assert not is_public(ipaddress.IPv6Address(form.format(address)))


@given(st.ip_addresses(v=4))
def test_no_6to4_address_is_public(address):
    assert not is_public(ipaddress.IPv6Address((0x2002 << 112) | (int(address) << 80) | 1))


def _part(number: int, base: str) -> str:
    return {"dec": f"{number}", "hex": f"0x{number:x}", "HEX": f"0X{number:X}", "oct": f"0{number:o}"}[base]


@st.composite
def spellings(draw):
    """An IPv4 address as inet_aton(3) would take it: one to four parts, each in some base."""
    value = int(draw(st.ip_addresses(v=4)))
    count = draw(st.integers(1, 4))
    rest = 8 * (5 - count)
    numbers = [(value >> (32 - 8 * (index + 1))) & 0xFF for index in range(count - 1)] + [value & ((1 << rest) - 1)]
    parts = [_part(number, draw(st.sampled_from(["dec", "hex", "HEX", "oct"]))) for number in numbers]
    return ipaddress.IPv4Address(value), ".".join(parts)


@given(spellings())
def test_a_spelling_that_the_c_library_takes_is_either_plain_or_refused(spelling):
    address, host = spelling
    assert socket.inet_aton(host) == address.packed
    if host == str(address):
        assert address_in(host) == address
    else:
        with pytest.raises(ForbiddenAddress):
            address_in(host)


@given(st.text(max_size=40))
def test_whatever_the_text_nothing_but_a_plain_address_is_one(host):
    try:
        found = address_in(host)
    except ForbiddenAddress:
        return
    if found is None:
        assert not any(part == "" for part in host.removesuffix(".").split("."))
        with pytest.raises(OSError, match="illegal"):
            socket.inet_aton(host)
    else:
        assert found == ipaddress.ip_address(host)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "a.localhost", "A.B.LocalHost."])
def test_names_of_this_machine_are_known(host):
    assert is_local_name(host)


@pytest.mark.parametrize("host", ["localhost.example", "notlocalhost", "local"])
def test_names_that_look_like_this_machines_are_not(host):
    assert not is_local_name(host)


@pytest.mark.parametrize(
    ("allow", "address", "port", "permitted"),
    [
        (None, "10.0.0.1", 80, False),
        (" , ", "10.0.0.1", 80, False),
        ("10.0.0.1", "10.0.0.1", 80, True),
        ("10.0.0.1", "10.0.0.2", 80, False),
        ("10.0.0.1:8080", "10.0.0.1", 8080, True),
        ("10.0.0.1:8080", "10.0.0.1", 80, False),
        ("x.example, 10.0.0.0/8", "10.9.9.9", 80, True),
        ("10.0.0.0/8", "11.0.0.1", 80, True),
        ("10.0.0.0/8", "::ffff:10.0.0.1", 80, False),
        ("::1", "::1", 80, True),
        ("[::1]", "::1", 80, True),
        ("[::1]:8080", "::1", 80, False),
        ("[::1]:8080", "::1", 8080, True),
        ("fd00::/8", "fd12::1", 80, True),
        ("127.0.0.1", "127.0.0.2", 80, False),
    ],
)
def test_the_operator_may_allow_private_addresses(allow, address, port, permitted):
    assert Allowance.parse(allow).permits(ipaddress.ip_address(address), port) is permitted


@pytest.mark.parametrize(
    ("allow", "host", "port", "allowed"),
    [
        ("agent.internal", "agent.internal", 80, True),
        ("Agent.Internal.", "agent.internal", 80, True),
        ("agent.internal", "AGENT.internal.", 80, True),
        ("agent.internal:8080", "agent.internal", 80, False),
        ("agent.internal:8080", "agent.internal", 8080, True),
        ("agent.internal", "x.agent.internal", 80, False),
    ],
)
def test_the_operator_may_allow_names(allow, host, port, allowed):
    assert Allowance.parse(allow).allows_name(host, port) is allowed


@pytest.mark.parametrize(
    "allow", ["10.0.0.0/33", "a b", "host:port", "host:0", "host:65536", "127.1", "http://a", "/8"]
)
def test_an_allowance_that_is_not_understood_stops_the_start(allow):
    with pytest.raises(StartupFailed, match="ARENA_OUTGOING_ALLOW"):
        Allowance.parse(allow)
