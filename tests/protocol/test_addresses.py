"""Whose address it is: a proxy is believed as far as it is one of ours."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from tests.wire import head, parsed
from uploadd.protocol.addresses import UNIX, address_of, counted

PROXIES = [ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("fd00::/8"), UNIX]


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.7", (), "203.0.113.7"),
        ("203.0.113.7", (b"198.51.100.1",), "203.0.113.7"),  # who is no proxy is not asked
        ("127.0.0.1", (b"198.51.100.1",), "198.51.100.1"),
        ("127.0.0.1", (b"6.6.6.6, 198.51.100.1",), "198.51.100.1"),  # what it was told is not
        ("127.0.0.1", (b"6.6.6.6", b"198.51.100.1, 10.1.2.3"), "198.51.100.1"),
        ("10.9.9.9", (b"10.1.1.1",), "10.1.1.1"),
        (UNIX, (b"198.51.100.1",), "198.51.100.1"),
        ("127.0.0.1", (b"evil", b"unknown"), "127.0.0.1"),
        ("127.0.0.1", (b"",), "127.0.0.1"),
        ("", (b"198.51.100.1",), ""),
        ("fd00::1", (b"2001:db8::1",), "2001:db8::/64"),
        ("127.0.0.1", (b"198.51.100.1:4711",), "198.51.100.1"),  # some proxies tell the port
        ("127.0.0.1", (b"[2001:db8::1]:4711, [fd00::2]",), "2001:db8::/64"),
        ("127.0.0.1", (b"::1:4711x",), "127.0.0.1"),
    ],
)
def test_the_last_that_no_proxy_of_ours_vouches_for(
    peer: str, forwarded: tuple[bytes, ...], expected: str
) -> None:
    """Of a chain only its trusted end is believed (T29)."""
    lines = [b"X-Forwarded-For: " + one for one in forwarded]
    assert address_of(peer, parsed(head(*lines)), PROXIES) == expected
    assert address_of(peer, parsed(head(*lines)), ()) == counted(peer)


def test_a_whole_64_of_ipv6_is_one() -> None:
    """And an IPv4 address is the same however it is written."""
    assert counted("2001:db8::1") == counted("2001:db8::ffff:1") != counted("2001:db8:0:1::1")
    assert counted("::ffff:192.0.2.1") == "192.0.2.1"
    assert counted("fe80::1%eth0") == "fe80::/64"
    assert counted("x" * 999) == "x" * 64
