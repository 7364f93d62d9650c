"""The WebSocket handshake (RFC 6455, section 4.2.1), judged on a head that passed the gate."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from typing import Final

from uploadd.errors import UpgradeRequired, UpgradeStripped
from uploadd.protocol.heads import TOKEN, Head

SUBPROTOCOL: Final = "uploadd.v1"
BEARER_PREFIX: Final = "uploadd.token."

_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_ACCEPTED: Final = (
    "HTTP/1.1 101 Switching Protocols\r\n"
    "Upgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {proof}\r\n"
)
_PLAIN_PATH: Final = "/"
"""Where a WebSocket needs no subprotocol, since it only listens."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A handshake that can be answered with 101."""

    answer: bytes
    """The head that accepts it: our subprotocol, and no extension whatever was offered."""
    token: str | None = field(repr=False)
    """From the second subprotocol, decoded; never to be echoed or logged."""
    plain: bool = False
    """Whether it only listens, and agrees on no subprotocol."""


def asks_for_upgrade(head: Head) -> bool:
    """Whether the connection must end after any answer but 101: a proxy may think it a tunnel."""
    return bool(head.values(b"upgrade") or head.values(b"sec-websocket-key"))


def websocket_upgrade(head: Head, unread: int) -> Upgrade | None:
    """The handshake in *head*, None if it is none; *unread* is how many bytes lie behind it.

    Raises UpgradeStripped for a handshake that lost its ``Upgrade`` on the way, and
    UpgradeRequired for one that is wrong.
    """
    if b"websocket" not in [item.lower() for item in head.items(b"upgrade")]:
        if not head.values(b"sec-websocket-key"):
            return None
        if not head.values(b"upgrade"):
            raise UpgradeStripped("Sec-WebSocket-Key without Upgrade: a proxy removed it")
        raise UpgradeRequired("Sec-WebSocket-Key, and Upgrade is not websocket")
    if head.method != "GET" or head.version != "1.1":
        raise UpgradeRequired("a WebSocket handshake is a GET of HTTP/1.1")
    if b"upgrade" not in [item.lower() for item in head.items(b"connection")]:
        raise UpgradeRequired("Upgrade, and Connection does not say so")
    if head.values(b"sec-websocket-version") != [b"13"]:
        raise UpgradeRequired("Sec-WebSocket-Version is not 13")
    if head.chunked or head.length or unread:
        raise UpgradeRequired("something follows the handshake before it was answered")
    key = _key(head)
    digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
    accepted = _ACCEPTED.replace("{proof}", base64.b64encode(digest).decode("ascii"))
    if head.target.partition("?")[0] == _PLAIN_PATH:
        return Upgrade(f"{accepted}\r\n".encode("ascii"), None, plain=True)
    token = _token(_subprotocols(head))
    agreed = f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    return Upgrade((accepted + agreed).encode("ascii"), token)


def _key(head: Head) -> bytes:
    keys = head.values(b"sec-websocket-key")
    try:
        sizes = [len(base64.b64decode(key, validate=True)) for key in keys]
    except binascii.Error:
        sizes = []
    if sizes != [16] or len(keys[0]) != 24:
        raise UpgradeRequired("Sec-WebSocket-Key is not one key of 16 bytes in base64")
    return keys[0]


def _subprotocols(head: Head) -> list[str]:
    """What the client offers, in its order; must be tokens, no one twice, one of them ours."""
    offered = head.items(b"sec-websocket-protocol")
    if not all(TOKEN.fullmatch(item) for item in offered) or len(set(offered)) < len(offered):
        raise UpgradeRequired("Sec-WebSocket-Protocol is not a list of different tokens")
    names = [item.decode("ascii") for item in offered]
    if SUBPROTOCOL not in names:
        raise UpgradeRequired(f"the subprotocol {SUBPROTOCOL} is not offered")
    return names


def _token(subprotocols: list[str]) -> str | None:
    """The token that rides along because a browser cannot set ``Authorization`` here."""
    packed = [name for name in subprotocols if name.startswith(BEARER_PREFIX)]
    if not packed:
        return None
    if len(packed) > 1:
        raise UpgradeRequired("more than one token among the subprotocols")
    text = packed[0].removeprefix(BEARER_PREFIX)
    try:
        packing = text + "=" * (-len(text) % 4)
        token = base64.urlsafe_b64decode(packing).decode() if _BASE64URL.fullmatch(text) else ""
    except ValueError:
        token = ""
    if not token:
        raise UpgradeRequired("the token among the subprotocols is not base64url of UTF-8")
    return token
