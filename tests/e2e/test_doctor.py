"""``uploadd doctor``: real faults, planted one at a time: each is found, and nothing else is."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import Daemon
from tests.e2e.fronts import NAME, Nginx, free_port
from tests.e2e.test_fronts import SAMPLE
from tests.e2e.test_mistakes import AS_OTHERS
from uploadd.cli import main
from uploadd.doctor import proxies, road, through

Doctor = Callable[..., tuple[int, dict[str, str], str]]


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Exit code, the mark of each thing, and all that is printed."""
    monkeypatch.setattr(through, "PATIENCE", 1.0)

    def run(*args: str) -> tuple[int, dict[str, str], str]:
        code = main(["doctor", *args])
        out = capsys.readouterr().out
        rows = [line for line in out.splitlines() if line[0] in "✓!✗"]
        return code, {row[2:15].strip(): row[0] for row in rows}, out

    return run


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One that knows its name; for all tests here, since nothing may be left of any."""
    folder = tmp_path_factory.mktemp("doctor") / "store"
    with Daemon(folder, "--set", f"server.names={NAME}", "--set", "access.anonymous=yes") as daemon:
        daemon.start()
        yield daemon


ROAD = ("reach", "clock", "scheme", "WebSocket", "Location", "sizes", "bodies")
ALL_GOOD = dict.fromkeys(ROAD, "✓")


def nothing_left(daemon: Daemon) -> bool:
    """No upload, no file."""
    growing = daemon.folder / ".uploadd/growing"
    return not list(growing.iterdir()) and os.listdir(daemon.folder) == [".uploadd"]


# --- the road: to who means us no good ------------------------------------------------------------

INFO = b'{"name": "uploadd", "version": "1\\u001b[2J\\n%s forged"}' % "✓".encode()


class Hostile(socketserver.BaseRequestHandler):
    """Answers as a daemon of ours, until it is asked for an upload."""

    location = b""
    endless = b""

    def handle(self) -> None:
        """One request."""
        head = self.request.recv(1 << 16)
        with contextlib.suppress(OSError):
            while self.endless:
                self.request.sendall(self.endless)
                time.sleep(0.01)
            if head.startswith(b"POST"):
                self.request.sendall(
                    b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n"
                    % self.location
                )
            else:
                self.request.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(INFO), INFO)
                )
            self.request.shutdown(socket.SHUT_WR)
            while self.request.recv(1 << 16):  # to close over unread bytes would be a reset
                pass


@contextlib.contextmanager
def hostile(**said: bytes) -> Iterator[str]:
    """The URL of one who says that."""
    kind = type("Kind", (Hostile,), said)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), kind) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("location", [b"http://[::1", b"/files/\xff", b"x:y", b"/\x01", b""])
def test_an_address_that_is_none_is_told(doctor: Doctor, location: bytes) -> None:
    """And nothing that a server says is obeyed by a terminal, or looks like another finding."""
    with hostile(location=location) as url:
        code, marks, out = doctor(url)
    assert (code, marks["reach"]) == (1, "✗" if location in (b"/files/\xff", b"/\x01") else "✓")
    assert "\x1b" not in out
    assert "✓ forged" not in [line[:8] for line in out.splitlines()]
    assert "✗" in marks.values()


@pytest.mark.parametrize("endless", [b"HTTP/1.1 100 Continue\r\n\r\n", b"x"])
def test_an_answer_without_end_is_not_waited_for(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, endless: bytes
) -> None:
    """However often something comes."""
    monkeypatch.setattr(road, "LONGEST", 0.2)
    with hostile(endless=endless) as url:
        assert doctor(url)[:2] == (1, {"reach": "✗"})


def test_what_no_server_can_be_asked_is_told(doctor: Doctor) -> None:
    """A name with nothing between its dots, and an address that is not written as one."""
    for url in ("http://a..b", "http://127.0.0.1:9/\xe4"):
        assert doctor(url)[:2] == (1, {"reach": "✗"})


# --- the road: nginx ------------------------------------------------------------------------------

FAULTS = {
    "client_max_body_size 0;": ("", "sizes", proxies.REFUSES_SIZE),
    "proxy_request_buffering off;": ("", "bodies", proxies.BUFFERS),
    "proxy_set_header Upgrade $http_upgrade;": ("", "WebSocket", proxies.STRIPS_UPGRADE),
    "proxy_set_header Host $http_host;": ("proxy_set_header Host localhost;", "scheme", ()),
    "proxy_buffering off;": ("proxy_redirect ~^/(.*) http://else.example/$1;", "Location", ()),
}


def behind(tmp_path: Path, daemon: Daemon | None, sample: str) -> Nginx:
    """nginx with the configuration *sample* in front of *daemon*, or of nothing."""
    nginx = Nginx(tmp_path, sample)
    nginx.start(daemon.address[1] if daemon else free_port())
    return nginx


def test_nothing_is_wrong_with_nginx_as_shipped(
    tmp_path: Path, daemon: Daemon, doctor: Doctor
) -> None:
    """And without any proxy; nothing is left of the questions."""
    nginx = behind(tmp_path, daemon, SAMPLE)
    try:
        for url in (daemon.url, f"http://127.0.0.1:{nginx.port}/"):
            code, marks, out = doctor(url)
            assert (code, marks) == (0, ALL_GOOD), out
    finally:
        nginx.stop()
    assert daemon.settles(lambda: nothing_left(daemon))


@pytest.mark.parametrize("line", FAULTS)
def test_each_fault_of_nginx_is_found_with_the_line_that_mends_it(
    tmp_path: Path, daemon: Daemon, doctor: Doctor, line: str
) -> None:
    """One line is taken from the sample, or another put in its place."""
    instead, what, lines = FAULTS[line]
    sample = SAMPLE
    assert line in sample
    nginx = behind(tmp_path, daemon, sample.replace(line, instead))
    try:
        code, marks, out = doctor(f"http://127.0.0.1:{nginx.port}")
    finally:
        nginx.stop()
    assert marks == ALL_GOOD | {what: "!" if what == "scheme" else "✗"}, out
    assert code == (0 if what == "scheme" else 1)
    assert all(line in out for line in lines)
    assert not lines or line in out or "Upgrade $http" in out


def test_a_scheme_that_gets_lost_is_found(
    tmp_path: Path, daemon: Daemon, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only https can be lost; and a certificate that nobody vouches for is named."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here: apt install openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make.split(), *names, *files], check=True, capture_output=True)
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {key}; server_name"
    sample = SAMPLE.replace("server_name", tls)
    forwarded = "proxy_set_header X-Forwarded-Proto $scheme;"
    for lost in (False, True):
        text = sample.replace(forwarded, "") if lost else sample
        nginx = Nginx(tmp_path, text, tls=True)
        nginx.start(daemon.address[1])
        try:
            url = f"https://127.0.0.1:{nginx.port}"
            monkeypatch.delenv("SSL_CERT_FILE", raising=False)
            code, marks, out = doctor(url)
            assert (code, marks) == (1, {"reach": "✗"})
            assert "its certificate is not good: self-signed certificate" in out
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            code, marks, out = doctor(url)
        finally:
            nginx.stop()
        seen = ALL_GOOD | {"certificate": "!"}  # it is of today
        assert marks == seen | ({"scheme": "✗"} if lost else {}), out
        assert code == int(lost)
        assert (forwarded in out) is lost


# --- HAProxy and Caddy ----------------------------------------------------------------------------

HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
frontend in
  bind 127.0.0.1:{port}
  {fault}
  default_backend uploadd
backend uploadd
  server u1 127.0.0.1:{backend}
"""
CADDY = """
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{port} {{
  reverse_proxy 127.0.0.1:{backend} {{
    {fault}
  }}
}}
"""


@contextlib.contextmanager
def proxy(tmp_path: Path, name: str, backend: int, fault: str) -> Iterator[str]:
    """A proxy in front of the port *backend*; its URL."""
    program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip(f"no {name} here: apt install {name}")
    port, file = free_port(), tmp_path / name
    text = HAPROXY if name == "haproxy" else CADDY
    file.write_text(text.format(port=port, backend=backend, fault=fault))
    options = ["-f"] if name == "haproxy" else ["run", "--adapter", "caddyfile", "--config"]
    environment = os.environ | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    process = subprocess.Popen(
        [program, *options, str(file)], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert process.poll() is None, f"{name} did not start"
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize(
    ("name", "fault", "what"),
    [
        ("haproxy", "", None),
        ("haproxy", "http-request del-header upgrade", "WebSocket"),
        (
            "haproxy",
            "http-request deny deny_status 413 if { req.hdr(content-length) 1099511627776 }",
            "sizes",
        ),
        ("haproxy", "http-request set-header Host localhost", "scheme"),
        ("caddy", "", None),
        ("caddy", "buffer_requests", "bodies"),
        ("caddy", "header_up Host localhost", "scheme"),
        ("caddy", "header_up -Upgrade", "WebSocket"),
    ],
)
def test_faults_of_other_proxies_are_found_too(
    tmp_path: Path, daemon: Daemon, doctor: Doctor, name: str, fault: str, what: str | None
) -> None:
    """As their own configuration plants them; as it comes there is none."""
    with proxy(tmp_path, name, daemon.address[1], fault) as url:
        _, marks, out = doctor(url)
    marked = {what: "!" if what == "scheme" else "✗"} if what else {}
    assert marks == ALL_GOOD | marked, out


# --- no daemon there ------------------------------------------------------------------------------


def test_what_is_not_reached_is_told_with_its_reason(
    tmp_path: Path, daemon: Daemon, doctor: Doctor
) -> None:
    """Nobody, somebody else, another name, and no URL."""
    nobody = f"127.0.0.1:{free_port()}"
    code, marks, out = doctor(f"http://{nobody}")
    assert (code, marks) == (1, {"reach": "✗"})
    assert f"{nobody}: Connection refused" in out
    assert doctor(f"{daemon.url}/below")[1] == {"reach": "✗"}
    sample = SAMPLE.replace("Host $http_host", "Host other.example")
    nginx = behind(tmp_path, daemon, sample)
    try:
        code, marks, out = doctor(f"http://127.0.0.1:{nginx.port}")
        assert (code, marks) == (1, {"name": "✗"})
        assert '[server] names = ["127.0.0.1"]' in out
        assert all(line in out for line in proxies.LOSES_HOST)
    finally:
        nginx.stop()
    alone = behind(tmp_path, None, SAMPLE)
    try:
        code, marks, out = doctor(f"http://127.0.0.1:{alone.port}")
        assert (code, marks) == (1, {"reach": "✗"})
        assert "a proxy answers 503: it does not reach uploadd" in out
    finally:
        alone.stop()
    assert doctor("ftp://x")[0] == os.EX_USAGE


def test_a_daemon_that_asks_for_tokens_is_looked_through_with_one(
    tmp_path: Path, doctor: Doctor, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without one it is told how to look further; a good one leaves nothing out."""
    folder, token = tmp_path / "store", tmp_path / "token"
    assert main(["token", "new", "ana", str(folder)]) == 0
    token.write_text(capsys.readouterr().out)
    with Daemon(folder) as daemon:
        daemon.start()
        code, marks, out = doctor(daemon.url)
        assert (code, marks.get("uploads")) == (1, "✗"), out
        assert "uploadd doctor --token-file FILE URL" in out
        code, marks, out = doctor(daemon.url, "--token-file", str(token))
        assert (code, marks) == (0, ALL_GOOD), out


# --- here -----------------------------------------------------------------------------------------


def test_a_good_place_is_found_good(tmp_path: Path, doctor: Doctor) -> None:
    """Whether nobody serves it, or uploadd does; and nothing is left in it."""
    folder, port = tmp_path / "store", str(free_port())
    for _ in range(2):
        code, marks, out = doctor(str(folder), "--port", port)
        assert code == 0, out
        checked = ("folder", "disk", "file system", "port")
        assert [marks[name] for name in checked] == ["✓"] * 4, out
        assert {"descriptors", "clock"} < set(marks)
        folder.mkdir(exist_ok=True)
        assert list(folder.iterdir()) == []
    with Daemon(folder, port=int(port)) as daemon:
        daemon.start()
        _, marks, out = doctor(str(folder), "--port", port)
        assert marks["port"] == "✓"
        assert f"is listened on by uploadd (pid {daemon.pid})" in out


def test_what_is_wrong_here_is_told_with_what_to_type(tmp_path: Path, doctor: Doctor) -> None:
    """A port of others, a disk that is full by its reserve, a folder that is a file, no folder."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, marks, out = doctor(str(tmp_path), "--port", str(port))
    assert (code, marks["port"]) == (1, "✗")
    assert f"is used by pid {os.getpid()} (" in out
    assert f"→ uploadd serve with --port {port + 1}" in out
    code, marks, out = doctor(str(tmp_path), "--set", "storage.min_free=8000 TB", "--port", "0")
    assert (code, marks["disk"]) == (1, "✗")
    (tmp_path / "file").touch()
    assert doctor(str(tmp_path / "file/store"), "--port", "0")[1]["folder"] == "✗"
    assert doctor("--port", "0")[1]["folder"] == "✗"
    assert doctor(str(tmp_path), "--set", "limits.max_sessions=1000000")[1]["descriptors"] == "!"
    assert doctor(str(tmp_path), "--port", "x")[0] == os.EX_CONFIG


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_others_is_told(tmp_path: Path) -> None:
    """As at start."""
    os.chown(tmp_path, 12345, 12345)
    command = [*AS_OTHERS, sys.executable, "-m", "uploadd", "doctor", str(tmp_path)]
    run = subprocess.run([*command, "--port", "0"], capture_output=True, text=True)
    assert run.returncode == 1
    assert f"✗ folder       cannot write to {tmp_path}: owned by 12345" in run.stdout
    assert "  → sudo install -d -o root -g root -m 0750" in run.stdout


def test_memory_is_called_what_it_is(doctor: Doctor, tmp_path: Path) -> None:
    """A file system whose files do not survive the computer."""
    if not Path("/dev/shm").is_dir():
        pytest.skip("no /dev/shm here")
    _, marks, out = doctor("/dev/shm", "--port", "0")
    assert marks["file system"] == "!"
    assert "tmpfs: what is on it is gone" in out
