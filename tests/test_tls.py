"""Who is led to the door encrypted, and who as they are."""

from __future__ import annotations

import logging
import socket
import ssl
import time

import pytest
import trio
import trio.testing
import trustme
from trio.testing import MockClock

from uploadd import tls
from uploadd.tls import Encryption, Shown


@pytest.fixture(scope="module")
def shown() -> Shown:
    """A certificate that lasts."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(made)
    return Shown(made, time.time() + 1e6 * tls.DAY)


class Door:
    """Notes who comes."""

    def __init__(self) -> None:
        self.came: list[trio.abc.Stream] = []

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One more."""
        self.came.append(stream)
        await trio.aclose_forcefully(stream)


async def test_behind_a_unix_socket_nothing_is_encrypted(shown: Shown) -> None:
    """There stands a proxy, which has done it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    door = Door()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    with theirs:
        await Encryption(door, shown, 1.0).serve(stream)
    assert door.came == [stream]


async def test_without_a_certificate_nothing_is_encrypted(shown: Shown) -> None:
    """Until a reload brings one."""
    door = Door()
    encryption = Encryption(door, None, 1.0)
    assert not encryption.on
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, await trio.testing.open_stream_to_socket_listener(listener):
        stream = await listener.accept()
        await encryption.serve(stream)
    assert door.came == [stream]
    encryption.adopt(shown, 1.0)
    assert encryption.on


async def test_that_the_certificate_ends_is_said_day_after_day(
    shown: Shown, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """And at once after a reload with one that ends soon, too; not of one that lasts."""
    encryption = Encryption(Door(), shown, 1.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(encryption.remind)
        await trio.sleep(3 * tls.DAY)
        assert (encryption.worry(), caplog.messages) == ("", [])
        encryption.adopt(shown._replace(ends=time.time() + 9.96 * tls.DAY), 1.0)
        await trio.testing.wait_all_tasks_blocked()
        [told] = caplog.messages
        assert told.startswith("the certificate ends in 10.0 days, on ")
        assert caplog.records[0].levelno == logging.WARNING
        await trio.sleep(2 * tls.DAY + 1)
        assert len(caplog.messages) == 3
        encryption.adopt(shown._replace(ends=1.0), 1.0)
        assert "has ended on 1970-01-01" in encryption.worry()
        encryption.adopt(None, 1.0)
        assert (encryption.worry(), encryption.ends) == ("", None)
        nursery.cancel_scope.cancel()
