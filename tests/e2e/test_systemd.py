"""The units as shipped, under a real systemd: activation, reload, watchdog, drain, and sealed."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from tests.e2e.manager import Manager, can_run

TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = TUS | {"Content-Type": "application/offset+octet-stream"}


@pytest.fixture(scope="module")
def systemd() -> Iterator[Manager]:
    """One for all tests here; a folder that PrivateTmp= does not cover."""
    if reason := can_run():
        pytest.skip(reason)
    with (
        tempfile.TemporaryDirectory(prefix="uploadd-", dir="/dev/shm") as folder,
        Manager(Path(folder)) as manager,
    ):
        yield manager


@pytest.fixture
def manager(systemd: Manager) -> Iterator[Manager]:
    """With the units installed, and nothing that runs; afterwards, too."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    systemd.config.write_text("")
    systemd.install(port=port, RestartSec="0.1")
    yield systemd
    systemd.do("stop", "uploadd.socket", "uploadd.service")
    systemd.run("reset-failed")


def ask(
    manager: Manager, method: str, target: str, fields: dict[str, str], body: bytes = b""
) -> HTTPResponse:
    """One request over TCP, on a connection of its own."""
    connection = HTTPConnection("127.0.0.1", manager.port, timeout=60)
    connection.request(method, target, body, fields)
    answer = connection.getresponse()
    answer.body = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


def begun(manager: Manager, length: int) -> str:
    """The path of a new upload."""
    answer = ask(manager, "POST", "/files/", TUS | {"Upload-Length": str(length)})
    assert answer.status == 201
    return str(answer.headers["Location"])


def offset(manager: Manager, path: str) -> int:
    """Where it goes on."""
    answer = ask(manager, "HEAD", path, TUS)
    assert answer.status == 200
    return int(answer.headers["Upload-Offset"])


def whole(manager: Manager, path: str) -> bytes:
    """What was published."""
    return ask(manager, "GET", "/f/" + path.rsplit("/", 1)[1], {}).body  # type: ignore[attr-defined,no-any-return]


def test_the_first_peer_starts_it_and_it_is_as_closed_as_its_unit(manager: Manager) -> None:
    """Over TCP and the unix socket; notify means that it is up when systemctl says so."""
    manager.do("start", "uploadd.socket")
    assert (manager.show("ActiveState"), manager.pid) == ("inactive", 0)
    assert ask(manager, "GET", "/-/info", {}).status == 200
    assert manager.show("ActiveState") == "active"
    assert manager.show("StatusText").startswith("listening on http://127.0.0.1:")
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(60)
        peer.connect(str(manager.unix))
        peer.sendall(b"GET /-/info HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert peer.recv(12) == b"HTTP/1.1 200"
    status = Path(f"/proc/{manager.pid}/status").read_text()
    assert "\nSeccomp:\t2\n" in status
    assert "\nNoNewPrivs:\t1\n" in status
    assert "\nCapBnd:\t0000000000000000\n" in status
    assert "systemd has opened the sockets" in manager.log
    with socket.socket(socket.AF_UNIX) as operator:  # seen from here, its /run is another
        operator.settimeout(60)
        operator.connect(f"/proc/{manager.pid}/root/run/user/0/uploadd/admin.sock")
        operator.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert operator.recv(12) == b"HTTP/1.1 200"


def test_a_reload_takes_a_good_file_and_a_bad_one_is_told_to_who_asked(manager: Manager) -> None:
    """``systemctl reload`` fails, the daemon is not touched."""
    manager.config.write_text('[access]\nanonymous = "yes"\n')
    manager.do("start", "uploadd.socket", "uploadd.service")
    pid = manager.pid
    host = {"Host": "files.example.com"}
    assert ask(manager, "GET", "/-/info", host).status == 421
    named = '[access]\nanonymous = "yes"\n[server]\nnames = ["files.example.com"]\n'
    manager.config.write_text(named)
    manager.do("reload", "uploadd")
    manager.settles(lambda: ask(manager, "GET", "/-/info", host).status == 200)
    manager.settles(lambda: manager.show("StatusText").startswith("0 uploads, "))

    manager.config.write_text("[server]\nnmaes = []\n")
    assert manager.run("reload", "uploadd").returncode != 0
    assert 'did you mean "names"?' in manager.log
    assert ask(manager, "GET", "/-/info", host).status == 200

    os.kill(pid, signal.SIGHUP)  # past the check: then the daemon says it
    failed = 'uploadd.toml:2: unknown key "nmaes" in [server]; 0 uploads, '
    manager.settles(lambda: manager.show("StatusText").endswith("free"))
    manager.settles(lambda: failed in manager.show("StatusText"))
    assert (manager.show("ActiveState"), manager.pid) == ("active", pid)
    assert ask(manager, "GET", "/-/info", host).status == 200


def test_a_process_that_stands_still_is_replaced_and_the_upload_goes_on(manager: Manager) -> None:
    """By the watchdog; who comes meanwhile waits, and nothing acknowledged is lost."""
    manager.install(port=manager.port, RestartSec="0.1", WatchdogSec="3")
    manager.do("start", "uploadd.socket", "uploadd.service")
    body = os.urandom(100_000)
    path = begun(manager, len(body))
    assert ask(manager, "PATCH", path, CHUNK | {"Upload-Offset": "0"}, body[:60_000]).status == 204
    stopped = manager.pid
    os.kill(stopped, signal.SIGSTOP)
    assert offset(manager, path) == 60_000  # answered by the next one
    assert manager.pid not in (0, stopped)
    assert manager.show("NRestarts") == "1"
    rest = CHUNK | {"Upload-Offset": "60000"}
    assert ask(manager, "PATCH", path, rest, body[60_000:]).status == 204
    assert whole(manager, path) == body


def test_a_restart_keeps_what_was_taken_and_refuses_nobody(manager: Manager) -> None:
    """A body is cut where it is; the next connection waits in the queue of the socket."""
    manager.config.write_text('[timeouts]\nstop = "1 s"\n')
    manager.do("start", "uploadd.socket", "uploadd.service")
    body = os.urandom(1 << 20)
    path = begun(manager, len(body))
    cut = HTTPConnection("127.0.0.1", manager.port, timeout=60)
    cut.putrequest("PATCH", path)
    for name, value in (CHUNK | {"Upload-Offset": "0", "Content-Length": "1048576"}).items():
        cut.putheader(name, value)
    cut.endheaders(body[:600_000])
    watched = f"/api/upload/{path.rsplit('/', 1)[1]}/status"
    manager.settles(lambda: b'"offset":600000' in ask(manager, "GET", watched, {}).body)  # type: ignore[attr-defined]
    first = manager.pid
    manager.do("restart", "uploadd.service")
    assert manager.pid not in (0, first)
    assert manager.show("Result") == "success"
    cut.close()
    assert offset(manager, path) == 600_000
    rest = CHUNK | {"Upload-Offset": "600000"}
    assert ask(manager, "PATCH", path, rest, body[600_000:]).status == 204
    assert whole(manager, path) == body


def test_sealed_it_serves_and_has_no_network(manager: Manager) -> None:
    """Peers come by the sockets that systemd holds; everything else is shut."""
    manager.install("sealed.conf", port=manager.port)
    manager.do("start", "uploadd.service")  # it needs the socket unit, and starts it
    body = os.urandom(1 << 20)
    path = begun(manager, len(body))
    assert ask(manager, "PATCH", path, CHUNK | {"Upload-Offset": "0"}, body).status == 204
    assert whole(manager, path) == body
    assert os.readlink(f"/proc/{manager.pid}/ns/net") != os.readlink("/proc/self/ns/net")
    interfaces = Path(f"/proc/{manager.pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]


def test_a_bad_file_is_not_started_again_and_again(manager: Manager) -> None:
    """The unit fails at once, with the mistake in the log."""
    manager.config.write_text("[limits]\nmax_refs = 0\n")
    assert manager.run("start", "uploadd.service").returncode != 0
    assert (manager.show("ActiveState"), manager.show("NRestarts")) == ("failed", "0")
    assert manager.show("ExecMainStatus") == "78"
    assert "limits.max_refs: expected at least 1, not 0" in manager.log
