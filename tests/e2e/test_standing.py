"""What the daemon tells systemd, and what it does with what systemd gives: the real process."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.daemon import Daemon
from tests.notified import Ear, handing


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    """Hears what daemons tell."""
    with Ear(tmp_path / "notify") as heard:
        yield heard


def served(folder: Path, ear: Ear, *args: str, **environment: str) -> Daemon:
    """A daemon that tells *ear* how it stands."""
    return Daemon(folder, *args, environment={"NOTIFY_SOCKET": ear.address, **environment})


def test_a_life_is_told_from_start_to_end(tmp_path: Path, ear: Ear) -> None:
    """Starting may take its time, ready means reachable, then how it is, and that it stops."""
    with served(tmp_path / "store", ear, WATCHDOG_USEC="20000000") as daemon:
        url = daemon.start()
        told = [ear.hear()]
        while "READY" not in told[-1]:
            told.append(ear.hear())
        assert {"WATCHDOG": "1"} in told
        assert any("EXTEND_TIMEOUT_USEC" in one for one in told)
        assert told[-1]["STATUS"] == f"listening on {url}"
        assert daemon.terminate() == 0
        assert ear.until("STOPPING")["STATUS"] == "draining 0 uploads"
        assert ear.hear() == {"EXTEND_TIMEOUT_USEC": "30000000"}


def test_why_it_does_not_start_is_the_last_that_is_told(tmp_path: Path, ear: Ear) -> None:
    """With the number of the error, for ``systemctl status``."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        served(tmp_path / "store", ear, "--port", str(taken.getsockname()[1])) as daemon,
    ):
        daemon.launch()
        assert daemon.wait() == os.EX_UNAVAILABLE
        told = ear.until("ERRNO")
        assert told["ERRNO"] == "98"
        assert "cannot listen on 127.0.0.1:" in told["STATUS"]


# --- reloading ----------------------------------------------------------------------------------


def get(daemon: Daemon, host: str) -> int:
    """The status of a request for *host*."""
    connection = HTTPConnection(*daemon.address, timeout=60)
    try:
        connection.request("GET", "/-/info", headers={"Host": host})
        return connection.getresponse().status
    finally:
        connection.close()


def reload(daemon: Daemon, ear: Ear) -> str:
    """Ask for a reload; what is told when it is over."""
    daemon.signal(signal.SIGHUP)
    assert int(ear.until("RELOADING")["MONOTONIC_USEC"]) > 0
    return ear.until("READY")["STATUS"]


def test_a_reload_takes_a_good_file_and_leaves_everything_for_a_bad_one(
    tmp_path: Path, ear: Ear
) -> None:
    """What a bad one lacks is in the log and in the status; a connection is not touched."""
    file = tmp_path / "u.toml"
    file.write_text("")
    said = ("--config", str(file), "--set", "access.anonymous=yes")
    with served(tmp_path / "store", ear, *said) as daemon:
        daemon.start()
        ear.until("READY")
        kept = HTTPConnection(*daemon.address, timeout=60)
        kept.connect()
        assert get(daemon, "files.example.com") == 421
        file.write_text('[server]\nnames = ["files.example.com"]\nport = 1\n')
        assert reload(daemon, ear).startswith("0 uploads, 0 B/s, ")
        assert get(daemon, "files.example.com") == 200
        assert "takes effect after a restart: server.port" not in daemon.log  # --port wins

        file.write_text('[server]\nnames = []\n[limits]\nmax_sise = 1\nmax_refs = "x"\n')
        failed = f'reload failed: {file}:4: unknown key "max_sise" in [limits] (and 1 more); '
        assert reload(daemon, ear).startswith(failed)
        assert get(daemon, "files.example.com") == 200
        file.unlink()
        assert reload(daemon, ear).startswith(f"reload failed: {file}: cannot be read: ")
        assert get(daemon, "files.example.com") == 200

        file.write_text('[storage]\nmode = "0600"\n')
        assert reload(daemon, ear).startswith("0 uploads, ")
        assert get(daemon, "files.example.com") == 421
        kept.request("GET", "/-/info")
        assert kept.getresponse().status == 200
        kept.close()
        assert daemon.terminate() == 0
        assert "max_refs: expected a whole number" in daemon.log
        assert "takes effect after a restart: storage.mode" in daemon.log


def test_files_that_nobody_can_look_at_end_nothing_and_hold_up_no_stop(
    tmp_path: Path, ear: Ear
) -> None:
    """One with lists in lists in lists, and one that is read for ever."""
    file = tmp_path / "u.toml"
    file.write_text("")
    with served(tmp_path / "store", ear, "--config", str(file)) as daemon:
        daemon.start()
        ear.until("READY")
        file.write_text("a = " + "[" * 5000)
        assert "too deep" in reload(daemon, ear)
        assert get(daemon, "localhost") == 200
        file.unlink()
        os.mkfifo(file)
        daemon.signal(signal.SIGHUP)
        ear.until("RELOADING")
        assert daemon.terminate() == 0


def test_no_hangup_ends_who_reads_files(tmp_path: Path) -> None:
    """While it starts, and in the middle of stopping."""
    (tmp_path / "u.toml").write_text("")
    with Daemon(tmp_path / "store", "--config", str(tmp_path / "u.toml")) as daemon:
        daemon.launch()
        assert daemon.settles((tmp_path / "store/.uploadd").exists)
        daemon.signal(signal.SIGHUP)
        assert daemon.settles(lambda: "the configuration was read again" in daemon.log)
        for number in (*[signal.SIGHUP] * 50, signal.SIGTERM):
            daemon.signal(number)
        while daemon.alive:
            daemon.signal(signal.SIGHUP)
        assert daemon.wait() == 0


def test_who_interrupts_a_start_is_shown_no_traceback(tmp_path: Path) -> None:
    """Ctrl-C, just before it is ready or just after."""
    with Daemon(tmp_path / "store") as daemon:
        daemon.launch()
        assert daemon.settles((tmp_path / "store/.uploadd").exists)
        daemon.signal(signal.SIGINT)
        assert daemon.wait() in (0, 128 + signal.SIGINT)
        assert "Traceback" not in daemon.log


def test_without_a_file_a_reload_changes_nothing_and_ends_nothing(tmp_path: Path) -> None:
    """But says so: who edits a file that does not count learns it."""
    with Daemon(tmp_path / "store") as daemon:
        daemon.start()
        daemon.signal(signal.SIGHUP)
        told = "the configuration was read again (there is no file): nothing has changed"
        assert daemon.settles(lambda: told in daemon.log)
        assert get(daemon, "localhost") == 200
        assert daemon.terminate() == 0


HEARING: Final = (
    "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL);"
    "os.execvp(sys.argv[1], sys.argv[1:])"
)
"""Runs its arguments with SIGHUP as it is for a new process."""
OWNING: Final = (
    "import fcntl, os, sys, termios; os.setsid();"
    "fcntl.ioctl(int(sys.argv[1]), termios.TIOCSCTTY, 0); os.execvp(sys.argv[2], sys.argv[2:])"
)
"""Runs its arguments in a session of their own, whose terminal is the first of them."""


@pytest.mark.parametrize("nohup", [False, True])
def test_a_daemon_goes_with_its_terminal(tmp_path: Path, nohup: bool) -> None:
    """In peace, when that is closed; not when it was told not to."""
    ours, its = os.openpty()
    # As a shell would start it, whatever this process hears: one that once served hears no SIGHUP.
    hearing = (sys.executable, "-c", HEARING, *(["nohup"] if nohup else []))
    under = (*hearing, sys.executable, "-c", OWNING, str(its))
    with Daemon(tmp_path / "store", under=under, inherits=[its]) as daemon:
        daemon.start()
        os.close(its)
        daemon.signal(signal.SIGHUP)
        assert daemon.settles(lambda: "nothing has changed" in daemon.log)
        os.close(ours)
        if nohup:
            assert daemon.settles(lambda: daemon.log.count("nothing has changed") == 2)
            assert daemon.terminate() == 0
        assert daemon.wait() == 0 if not nohup else not daemon.alive
        assert ("the terminal is closed" in daemon.log) is not nohup


# --- sockets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_sockets_of_systemd_are_served_tcp_and_unix(tmp_path: Path, size: int) -> None:
    """In and out, by the kernel's way too; and they outlive the daemon."""
    body = os.urandom(size)
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        unix.bind(str(tmp_path / "http.sock"))
        unix.listen()
        daemon = Daemon(
            tmp_path / "store",
            under=handing([tcp, unix]),
            inherits=[tcp.fileno(), unix.fileno()],
            environment={"LISTEN_FDNAMES": "http:uploadd.socket"},
        )
        with daemon:
            assert daemon.start() == f"http://127.0.0.1:{tcp.getsockname()[1]}"
            for peer in (socket.create_connection(daemon.address), connected(unix)):
                connection = HTTPConnection("localhost", timeout=60)
                connection.sock = peer
                connection.request("PUT", "/a", body)
                answer = connection.getresponse()
                url = answer.read().decode().strip()
                assert answer.status == 201, url
                connection.request("GET", "/f/" + url.partition("/f/")[2])
                assert connection.getresponse().read() == body
                connection.close()
            assert daemon.terminate() == 0
        # Who comes while nobody serves waits for the next one.
        early = connected(unix)
        early.sendall(b"GET /-/info HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with daemon:
            daemon.start()
            assert early.recv(12) == b"HTTP/1.1 200"
        early.close()


def connected(listening: socket.socket) -> socket.socket:
    """A connection to the unix socket *listening*."""
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(60)
    peer.connect(listening.getsockname())
    return peer


@pytest.mark.parametrize(
    ("names", "type", "reason"),
    [
        ("htpp", socket.SOCK_STREAM, 'a socket named "htpp", and there is no use for it'),
        ("admin.socket", socket.SOCK_STREAM, 'a socket named "admin.socket", and there is no use'),
        ("http", socket.SOCK_DGRAM, "what is of no use here"),
    ],
)
def test_a_socket_that_is_of_no_use_is_refused(
    tmp_path: Path, names: str, type: socket.SocketKind, reason: str
) -> None:
    """With what to write into the unit."""
    with socket.socket(socket.AF_INET, type) as given:
        given.bind(("127.0.0.1", 0))
        daemon = Daemon(
            tmp_path / "store",
            under=handing([given]),
            inherits=[given.fileno()],
            environment={"LISTEN_FDNAMES": names},
        )
        with daemon:
            daemon.launch()
            assert daemon.wait() == os.EX_CONFIG
            assert reason in daemon.log
            assert "in the socket unit" in daemon.log


def test_what_is_no_socket_at_all_is_refused(tmp_path: Path) -> None:
    """As one of no use, and with no more words."""
    with open(os.devnull) as given:
        daemon = Daemon(
            tmp_path / "store",
            under=handing([given]),  # type: ignore[list-item]
            inherits=[given.fileno()],
        )
        with daemon:
            daemon.launch()
            assert daemon.wait() == os.EX_CONFIG
            assert "what is of no use here" in daemon.log
            assert "Traceback" not in daemon.log
