"""Who is at the other end of a stream, as an address that can be counted."""

from __future__ import annotations

import socket
from collections.abc import Collection

import trio

from uploadd.protocol.addresses import UNIX, Network, address_of
from uploadd.protocol.heads import Head


def peer_of(stream: trio.abc.Stream) -> str:
    """The address of the peer; empty when it is gone, or was none."""
    if isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    if not isinstance(stream, trio.SocketStream):
        return ""
    if stream.socket.family == socket.AF_UNIX:
        return UNIX
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:  # it has hung up
        return ""


def sender(stream: trio.abc.Stream, head: Head, proxies: Collection[Network | str]) -> str:
    """What whoever has sent *head* is counted by."""
    return address_of(peer_of(stream), head, proxies)
