"""Who is led to the door encrypted, and who as they are."""

from __future__ import annotations

import socket
import ssl

import pytest
import trio
import trio.testing
import trustme

from uploadd.tls import Encryption


@pytest.fixture(scope="module")
def context() -> ssl.SSLContext:
    """With a certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(made)
    return made


class Door:
    """Notes who comes."""

    def __init__(self) -> None:
        self.came: list[trio.abc.Stream] = []

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One more."""
        self.came.append(stream)
        await trio.aclose_forcefully(stream)


async def test_behind_a_unix_socket_nothing_is_encrypted(context: ssl.SSLContext) -> None:
    """There stands a proxy, which has done it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    door = Door()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    with theirs:
        await Encryption(door, context, 1.0).serve(stream)
    assert door.came == [stream]


async def test_without_a_certificate_nothing_is_encrypted(context: ssl.SSLContext) -> None:
    """Until a reload brings one."""
    door = Door()
    encryption = Encryption(door, None, 1.0)
    assert not encryption.on
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, await trio.testing.open_stream_to_socket_listener(listener):
        stream = await listener.accept()
        await encryption.serve(stream)
    assert door.came == [stream]
    encryption.adopt(context, 1.0)
    assert encryption.on
