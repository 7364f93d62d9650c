"""TLS by the daemon itself: the same ways in, with a certificate from files."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import pytest
import trustme

from tests.e2e.daemon import Daemon
from tests.e2e.test_operating import Operated
from uploadd.cli import main
from uploadd.client import open_client

TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = TUS | {"Content-Type": "application/offset+octet-stream"}
DATA = os.urandom(3_000_000)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Whom the clients believe."""
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA) -> ssl.SSLContext:
    """What a client goes by."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def write_certificate(
    authority: trustme.CA, folder: Path, not_after: datetime | None = None
) -> None:
    """A new one, in ``cert.pem`` and ``key.pem``."""
    made = authority.issue_cert("127.0.0.1", "localhost", not_after=not_after)
    (folder / "cert.pem").write_bytes(b"".join(p.bytes() for p in made.cert_chain_pems))
    (folder / "key.pem").write_bytes(made.private_key_pem.bytes())


@contextmanager
def encrypted(authority: trustme.CA, folder: Path) -> Iterator[Daemon]:
    """A daemon that speaks TLS."""
    write_certificate(authority, folder)
    config = folder / "uploadd.toml"
    config.write_text(
        f'[tls]\ncert = "{folder}/cert.pem"\nkey = "{folder}/key.pem"\nhandshake = "500 ms"\n'
    )
    with Daemon(folder / "store", "--config", str(config)) as daemon:
        daemon.start()
        yield daemon


@pytest.fixture(scope="module")
def daemon(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One for all who leave it as it is."""
    with encrypted(authority, tmp_path_factory.mktemp("encrypted")) as daemon:
        yield daemon


def secured(daemon: Daemon, context: ssl.SSLContext) -> HTTPSConnection:
    """A connection."""
    return HTTPSConnection(*daemon.address, timeout=60, context=context)


def serial(connection: HTTPSConnection) -> object:
    """The number of the certificate that the daemon has shown."""
    connection.request("GET", "/-/info")
    answer = connection.getresponse()
    assert (answer.status, bool(answer.read())) == (200, True)
    assert isinstance(connection.sock, ssl.SSLSocket)
    shown = connection.sock.getpeercert()
    assert shown is not None
    return shown["serialNumber"]


def test_http_comes_in_by_tls_and_goes_out(daemon: Daemon, trusted: ssl.SSLContext) -> None:
    """A raw PUT, tus in two requests on one connection, a range, and links that are right."""
    assert daemon.url.startswith("https://")
    connection = secured(daemon, trusted)
    connection.request("PUT", "/put.bin", DATA)
    answer = connection.getresponse()
    url = answer.read().decode().strip()
    assert (answer.status, url.startswith(daemon.url)) == (201, True)
    connection.request("POST", "/files/", headers=TUS | {"Upload-Length": str(len(DATA))})
    answer = connection.getresponse()
    answer.read()
    path = answer.headers["Location"]
    for at, end in ((0, 1_000_000), (1_000_000, len(DATA))):
        connection.request("PATCH", path, DATA[at:end], CHUNK | {"Upload-Offset": str(at)})
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(end))
    connection.request("GET", url.removeprefix(daemon.url), headers={"Range": "bytes=1000000-"})
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (206, DATA[1_000_000:])
    connection.close()
    assert (daemon.folder / "put.bin").read_bytes() == DATA


async def test_a_session_comes_by_tls(
    daemon: Daemon, trusted: ssl.SSLContext, tmp_path: Path
) -> None:
    """WebSocket, with chunks larger than a record."""
    (tmp_path / "session").write_bytes(DATA)
    async with open_client(daemon.url, context=trusted) as client:
        stored = await client.upload(tmp_path / "session", name="session")
    assert stored.url.startswith(f"{daemon.url}/f/")
    assert (daemon.folder / "session").read_bytes() == DATA


def test_the_command_line_puts_and_gets(
    daemon: Daemon, authority: trustme.CA, tmp_path: Path
) -> None:
    """It believes whom the system believes, or SSL_CERT_FILE; else it says so."""
    (tmp_path / "file").write_bytes(DATA)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "uploadd", *words],
            env=os.environ | {"XDG_STATE_HOME": str(tmp_path / "state")} | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    believes = {"SSL_CERT_FILE": str(tmp_path / "authority.pem")}
    put = run("put", str(tmp_path / "file"), daemon.url, **believes)
    assert put.returncode == 0, put.stderr
    got = run("get", put.stdout.strip(), "-o", str(tmp_path / "back"), **believes)
    assert got.returncode == 0, got.stderr
    assert (tmp_path / "back").read_bytes() == DATA
    assert "is not to be believed" in run("put", str(tmp_path / "file"), daemon.url).stderr
    plain = run("put", str(tmp_path / "file"), daemon.url.replace("https:", "http:"))
    assert "https://" in plain.stderr


@pytest.mark.parametrize("version", ["TLSv1_1", "TLSv1_2", "TLSv1_3"])
def test_old_versions_are_refused(daemon: Daemon, trusted: ssl.SSLContext, version: str) -> None:
    """1.2 is the least."""
    old = version == "TLSv1_1"
    with pytest.warns(DeprecationWarning, match=version) if old else nullcontext():
        trusted.minimum_version = trusted.maximum_version = ssl.TLSVersion[version]
    trusted.set_ciphers("DEFAULT:@SECLEVEL=0")
    if old:
        with pytest.raises(ssl.SSLError):
            serial(secured(daemon, trusted))
    else:
        connection = secured(daemon, trusted)
        serial(connection)
        connection.close()


def test_who_comes_without_tls_is_told_so(daemon: Daemon) -> None:
    """In plain HTTP, which is what they understand."""
    connection = HTTPConnection(*daemon.address, timeout=60)
    connection.request("PUT", "/file", DATA)
    answer = connection.getresponse()
    told = json.load(answer)
    assert (answer.status, told["hint"]) == (400, "write https:// instead of http://")
    connection.close()


@pytest.mark.parametrize("said", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
def test_who_does_not_shake_hands_is_let_go(daemon: Daemon, said: bytes) -> None:
    """After `tls.handshake`, whatever came so far."""
    with socket.create_connection(daemon.address, timeout=60) as sock:
        sock.sendall(said)
        with suppress(ConnectionResetError):
            assert sock.recv(100) == b""


def test_rubbish_ends_its_own_connection(daemon: Daemon, trusted: ssl.SSLContext) -> None:
    """And leaves no traceback."""
    with socket.create_connection(daemon.address, timeout=60) as sock:
        sock.sendall(b"\x16\x03\x01" + os.urandom(5000))
        with suppress(ConnectionResetError):
            while sock.recv(1000):
                pass
    connection = secured(daemon, trusted)
    serial(connection)
    connection.close()
    assert "Traceback" not in daemon.log


def test_a_new_certificate_is_for_new_connections(
    authority: trustme.CA, trusted: ssl.SSLContext, tmp_path: Path
) -> None:
    """Those that are open stay; one that cannot be used changes nothing; and who shakes hands when
    it stops is not waited for.
    """

    def shown(daemon: Daemon) -> object:
        connection = secured(daemon, trusted)
        try:
            return serial(connection)
        finally:
            connection.close()

    with encrypted(authority, tmp_path) as daemon:
        old = secured(daemon, trusted)
        first = serial(old)
        write_certificate(authority, tmp_path)
        daemon.signal(signal.SIGHUP)
        assert daemon.settles(lambda: shown(daemon) != first)
        second = shown(daemon)
        assert serial(old) == first
        old.close()
        (tmp_path / "cert.pem").write_text("nothing")
        daemon.signal(signal.SIGHUP)
        assert daemon.settles(lambda: "hold no certificate and key in PEM" in daemon.log)
        assert shown(daemon) == second
        with socket.create_connection(daemon.address, timeout=60):
            assert daemon.terminate() == 0


def test_a_connection_that_ends_well_says_so(daemon: Daemon, trusted: ssl.SSLContext) -> None:
    """By close_notify after the last answer: without it nobody knows whether it was cut off."""
    with (
        socket.create_connection(daemon.address, timeout=60) as sock,
        trusted.wrap_socket(
            sock, server_hostname="localhost", suppress_ragged_eofs=False
        ) as secured,
    ):
        secured.sendall(b"GET /-/info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        said = b""
        while data := secured.recv(65536):  # raises SSLEOFError where it is just cut
            said += data
        assert said.startswith(b"HTTP/1.1 200")


def test_a_certificate_that_ends_soon_is_told_before_it_does(
    authority: trustme.CA,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the log, in readyz, as a number, and by doctor: here and over the road."""
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    write_certificate(authority, tmp_path, end)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    sets = [f"tls.cert={tmp_path}/cert.pem", f"tls.key={tmp_path}/key.pem"]
    args = [word for one in sets for word in ("--set", one)]
    with Operated(tmp_path / "store", *args) as daemon:
        daemon.start()
        assert daemon.settles(lambda: "the certificate ends in 3.0 days" in daemon.log)
        status, body = daemon.look("/readyz")
        assert status == 200  # it is ready all the same
        assert json.loads(body)["certificate"].startswith("ends in 3.0 days, on")
        told = daemon.number("tls_certificate_expiry_timestamp_seconds")
        assert told == end.timestamp()
        for where in ([str(daemon.folder), *args, "--port", "0"], [daemon.url]):
            main(["doctor", *where])
            out = capsys.readouterr().out
            assert "! certificate  ends in 3.0 days, on" in out, out


@pytest.mark.parametrize("mistake", ["missing", "other key", "rubbish", "passphrase"])
def test_a_certificate_that_cannot_be_used_is_named(
    authority: trustme.CA, tmp_path: Path, mistake: str
) -> None:
    """Before anybody is listened to: exit status 78."""
    write_certificate(authority, tmp_path)
    key = tmp_path / "key.pem"
    if mistake == "missing":
        key.unlink()
        wanted = f"{key} cannot be read: No such file or directory"
    elif mistake == "other key":
        key.write_bytes(authority.issue_cert("localhost").private_key_pem.bytes())
        wanted = f"the key in {key} is not that of the certificate"
    elif mistake == "rubbish":
        key.write_text("nothing")
        wanted = "hold no certificate and key in PEM"
    else:
        words = ["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:x", "-out"]
        subprocess.run([*words, f"{key}.new"], check=True, capture_output=True)
        os.rename(f"{key}.new", key)
        wanted = "the key has a passphrase, and there is nobody to type it"
    sets = ("--set", f"tls.cert={tmp_path}/cert.pem", "--set", f"tls.key={key}")
    words = [sys.executable, "-m", "uploadd", "check", *sets]
    checked = subprocess.run(words, capture_output=True, text=True)
    assert (checked.returncode, wanted in checked.stderr) == (os.EX_CONFIG, True)
    with Daemon(tmp_path / "store", *sets) as daemon:
        daemon.launch()
        assert daemon.wait() == os.EX_CONFIG
        assert wanted in daemon.log
        assert "Traceback" not in daemon.log
