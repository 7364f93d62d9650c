"""Who may ask: the ``Host`` that was meant, and the page that made a browser ask.

A page can make its visitor's browser ask any server, and by DNS rebinding even under a name of
its own.  Programs that are no browser send no ``Origin``, and are believed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from uploadd.errors import HostNotAllowed, OriginNotAllowed
from uploadd.protocol.heads import Head

LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_HOST: Final = r"([a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?"
_AUTHORITY: Final = re.compile(_HOST, re.IGNORECASE)
_ORIGIN: Final = re.compile(rf"([a-z][a-z0-9+.-]*)://{_HOST}", re.IGNORECASE)


class Origin(NamedTuple):
    """Scheme, host and port in lower case; port None for a scheme that has no default."""

    scheme: str
    host: str
    port: int | None


def parse_origin(text: str) -> Origin | None:
    """The origin that *text* names (RFC 6454, 6.1), None if it is none, or ``null``."""
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return None
    scheme = match[1].lower()
    port = int(match[3]) if match[3] else DEFAULT_PORTS.get(scheme)
    return Origin(scheme, match[2].lower(), port)


def check_host(authority: str, names: Collection[str]) -> None:
    """Refuse a request meant for somebody else: raises HostNotAllowed.

    Allowed are the local names and *names* (lower case), with any port; ``*`` allows any.
    """
    if authority in LOCAL_NAMES:
        return
    match = _AUTHORITY.fullmatch(authority)
    host = match[1].lower() if match else ""
    if "*" in names or host in LOCAL_NAMES or (host and host in names):
        return
    raise HostNotAllowed(f"this server is not {authority[:80]!r}")


def check_origin(origins: Sequence[bytes], authority: str, allowed: Collection[Origin]) -> None:
    """Refuse what a foreign page asks for: raises OriginNotAllowed.

    *origins* are the values of the ``Origin`` fields.  None at all is allowed, and so is the
    page's own server, and what matches one of *allowed* in scheme, host and port.
    """
    if not origins:
        return
    if len(origins) > 1:
        raise OriginNotAllowed("more than one Origin field")
    text = origins[0].decode("ascii")
    origin = parse_origin(text)
    if origin is None or not (origin in allowed or _same(origin, authority)):
        raise OriginNotAllowed(f"the origin {text[:80]!r} is not allowed here")


def check_foreign(head: Head, allowed: Collection[Origin]) -> None:
    """Refuse a request that changes state and comes from a foreign page: raises OriginNotAllowed.

    By ``Origin``, and by ``Sec-Fetch-Site`` where no *allowed* origin vouches for it.  Of the
    safe methods only a WebSocket handshake counts: what follows it changes state.
    """
    if head.method in SAFE_METHODS and not head.values(b"sec-websocket-key"):
        return
    origins = head.values(b"origin")
    check_origin(origins, head.authority, allowed)
    vouched = origins and parse_origin(origins[0].decode("ascii")) in allowed
    if b"cross-site" in head.values(b"sec-fetch-site") and not vouched:
        raise OriginNotAllowed("a page of another site asked for this (Sec-Fetch-Site)")


def check_page(head: Head, allowed: Collection[Origin]) -> None:
    """Refuse whatever a foreign page asks for, looking included: raises OriginNotAllowed."""
    check_origin(head.values(b"origin"), head.authority, allowed)


def _same(origin: Origin, authority: str) -> bool:
    """Whether *authority* is the host and port of *origin*, whose scheme tells a missing port."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return False
    port = int(match[2]) if match[2] else DEFAULT_PORTS.get(origin.scheme)
    return (origin.host, origin.port) == (match[1].lower(), port)
