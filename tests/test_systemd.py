"""What systemd is told, and the sockets that it hands over."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.notified import Ear, handing
from uploadd.systemd import Notifier, passed


@pytest.mark.parametrize("abstract", [False, True])
async def test_each_step_is_told_in_the_words_of_sd_notify(tmp_path: Path, abstract: bool) -> None:
    """Over a socket with a file, and one without."""
    with Ear(f"@uploadd-test-{os.getpid()}" if abstract else tmp_path / "notify") as ear:
        systemd = Notifier({"NOTIFY_SOCKET": ear.address})
        await systemd.ready("listening on http://127.0.0.1:8080")
        assert ear.hear() == {"READY": "1", "STATUS": "listening on http://127.0.0.1:8080"}
        await systemd.status("12 uploads\nERRNO=5")
        assert ear.hear() == {"STATUS": "12 uploads ERRNO=5"}
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        await systemd.reloading()
        told = ear.hear()
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert before <= int(told.pop("MONOTONIC_USEC")) <= after
        assert told == {"RELOADING": "1", "STATUS": "reloading"}
        await systemd.stopping("draining 7 uploads")
        assert ear.hear() == {"STOPPING": "1", "STATUS": "draining 7 uploads"}
        await systemd.extend()
        assert ear.hear() == {"EXTEND_TIMEOUT_USEC": "30000000"}
        await systemd.extend("recovering")
        assert ear.hear() == {"EXTEND_TIMEOUT_USEC": "30000000", "STATUS": "recovering"}
        await systemd.failed(28, "no room")
        assert ear.hear() == {"ERRNO": "28", "STATUS": "no room"}
        await systemd.failed(0, "no reason")
        assert ear.hear() == {"STATUS": "no reason"}


async def test_without_systemd_nobody_is_told_and_nothing_waits() -> None:
    """A daemon in a terminal."""
    systemd = Notifier({"WATCHDOG_USEC": "1000000"})
    assert systemd.watchdog == 0.0
    await systemd.ready("x")
    await systemd.beat()


async def test_a_systemd_that_has_gone_is_survived(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Telling is no reason to end."""
    await Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")}).ready("x")
    assert "cannot tell systemd how it stands: " in caplog.text


async def test_the_watchdog_hears_twice_as_often_as_it_must(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """From a task that stops when the loop does."""
    with Ear(tmp_path / "notify") as ear:
        systemd = Notifier({"NOTIFY_SOCKET": ear.address, "WATCHDOG_USEC": "30000000"})
        with trio.move_on_after(46):
            await systemd.beat()
        for _ in range(4):
            assert ear.hear() == {"WATCHDOG": "1"}
        ear.silent()


def test_a_watchdog_for_another_process_is_none_of_ours() -> None:
    """What a shell inherits that starts the daemon by hand."""
    environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000000"}
    assert Notifier(environment).watchdog == 1.0
    assert Notifier(environment | {"WATCHDOG_PID": str(os.getpid())}).watchdog == 1.0
    assert Notifier(environment | {"WATCHDOG_PID": "1"}).watchdog == 0.0
    assert Notifier(environment | {"WATCHDOG_USEC": "soon"}).watchdog == 0.0


# --- sockets ------------------------------------------------------------------------------------

TELL = """
import os, sys
from uploadd.systemd import passed
environment = dict(os.environ)
for name, sockets in passed(environment).items():
    for one in sockets:
        print(name, one.family.name, one.getblocking(), os.get_inheritable(one.fileno()))
print(sorted(name for name in environment if name.startswith("LISTEN")))
"""


def handed_over(sockets: list[socket.socket], **environment: str) -> list[str]:
    """What a process finds that gets *sockets* from systemd."""
    command = [*handing(sockets), sys.executable, "-c", TELL]
    run = subprocess.run(
        command,
        env={**os.environ, **environment},
        pass_fds=[one.fileno() for one in sockets],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return run.stdout.splitlines()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[list[socket.socket]]:
    """A TCP socket and a unix socket, both listening and blocking."""
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "http.sock"))
    unix.listen()
    with unix, socket.create_server(("127.0.0.1", 0)) as tcp:
        yield [tcp, unix]


def test_sockets_come_by_name_and_are_made_ours(two: list[socket.socket]) -> None:
    """Not blocking, for no child, and nothing in the environment tells a child of them."""
    assert handed_over(two, LISTEN_FDNAMES="http:admin") == [
        "http AF_INET False False",
        "admin AF_UNIX False False",
        "[]",
    ]
    assert handed_over(two) == [" AF_INET False False", " AF_UNIX False False", "[]"]


def test_sockets_for_another_process_are_left_alone(two: list[socket.socket]) -> None:
    """A shell of the unit that starts something by hand."""
    assert handed_over(two, LISTEN_PID="1") == ["[]"]
    assert passed({}) == {}
