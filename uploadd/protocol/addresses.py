"""Whose address a request comes from: the peer's, or what a proxy that is trusted says of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Final, TypeAlias

from uploadd.protocol.heads import Head

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
UNIX: Final = "unix"
"""How a peer on a unix socket is called."""
MAX_HOPS: Final = 20


def address_of(peer: str, head: Head, proxies: Collection[Network | str]) -> str:
    """What the sender of *head* is counted by: an IPv4 address, or the /64 of an IPv6 address.

    Each hop of ``X-Forwarded-For`` is believed as far as who says it is one of *proxies*.
    """
    forwarded = head.values(b"x-forwarded-for")
    hops = [hop.strip() for hop in b",".join(forwarded).decode("latin-1").split(",")][-MAX_HOPS:]
    here = peer
    while hops and _is_trusted(here, proxies):
        said = _without_port(hops.pop())
        if _parsed(said) is None:
            break
        here = said
    return counted(here)


def _without_port(hop: str) -> str:
    """``1.2.3.4:5``, ``[2001:db8::1]:5`` and ``[2001:db8::1]`` as some proxies write them."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    address, colon, port = hop.partition(":")
    return address if colon and port.isdecimal() else hop


def counted(address: str) -> str:
    """What *address* is counted by: who has one of a /64 has them all."""
    found = _parsed(address)
    if found is None:
        return address[:64]
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((found, 64), strict=False))


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if found.version == 6 else None
    return mapped or found


def _is_trusted(address: str, proxies: Collection[Network | str]) -> bool:
    found = _parsed(address)
    if found is None:
        return address in proxies
    return any(not isinstance(one, str) and found in one for one in proxies)
