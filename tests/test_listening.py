"""The sockets of the daemon, and how the descriptors of the process are shared out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd import ports
from uploadd.listening import (
    PER_CONNECTION,
    SPARE,
    adopt,
    base_url,
    is_local,
    listen,
    shares,
)
from uploadd.store.descriptors import MANY


@given(st.integers(256, 1 << 20))
def test_together_they_never_ask_for_more_than_there_are(limit: int) -> None:
    """Connections, what they download, files that grow, and a reserve."""
    connections, growing = shares(limit)
    assert SPARE + growing + PER_CONNECTION * connections <= limit
    assert 16 <= growing <= MANY
    assert connections >= 16


def test_the_limit_is_raised_as_far_as_it_goes() -> None:
    """A shell gives 1024; the system allows more."""
    code = (
        "import resource as r; from uploadd.listening import raise_limit\n"
        "r.setrlimit(r.RLIMIT_NOFILE, (300, 400)); print(raise_limit())\n"
        "print(r.getrlimit(r.RLIMIT_NOFILE))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split("\n")[:2] == ["400", "(400, 400)"]


def test_who_listens_on_a_port_is_found_by_its_number() -> None:
    """Of both families; a connection on the same port is not it."""
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.create_server((host, 0), family=family) as listening:
            port = listening.getsockname()[1]
            found = ports.listener(port)
            assert found is not None
            assert found.pid == os.getpid()
            with socket.create_connection((host, port)) as peer:
                assert ports.listener(peer.getsockname()[1]) is None


@pytest.mark.parametrize(
    ("address", "local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("0.0.0.0", False), ("::", False)],
)
async def test_only_loopback_is_for_this_computer_alone(address: str, local: bool) -> None:
    """Whatever the configuration calls it."""
    listeners = await listen(address, 0)
    try:
        assert is_local(listeners) is local
    finally:
        for listener in listeners:
            await listener.aclose()


async def test_behind_a_unix_socket_stands_a_proxy(tmp_path: Path) -> None:
    """And before that, everybody."""
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "http.sock"))
        unix.listen()
        [listener] = adopt([unix])
        assert not is_local([listener])
        assert base_url(listener) == f"unix:{tmp_path}/http.sock"
        await listener.aclose()
