"""What operators see of a daemon that works: its numbers, its readiness, its lines."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.daemon import Daemon
from uploadd.client import connect
from uploadd.refusals import MOST

TUS = {"Tus-Resumable": "1.0.0"}


class UnixConnection(HTTPConnection):
    """One by a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


class Operated(Daemon):
    """A daemon with a back door."""

    def __init__(self, folder: Path, *args: str) -> None:
        self.back = folder.parent / "admin.sock"
        told = ("--set", f"admin.listen=unix:{self.back}", "--set", "log.format=json")
        super().__init__(folder, *told, *args)

    def look(self, path: str, method: str = "GET", host: str = "localhost") -> tuple[int, bytes]:
        """Status and body of what the back door says."""
        connection = UnixConnection(self.back)
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    def ready(self) -> dict[str, str]:
        """Every check by its name."""
        status, body = self.look("/readyz")
        told = json.loads(body)
        assert told["ready"] == (status == 200) == (set(told["checks"].values()) == {"ok"})
        return dict(told["checks"])

    def number(self, name: str, **labels: str) -> float:
        """The sum of the samples *name* that have these *labels*."""
        status, text = self.look("/metrics")
        assert status == 200
        return sum(
            sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
            if sample.name == f"uploadd_{name}" and labels.items() <= sample.labels.items()
        )

    def ask(
        self, method: str, path: str, fields: dict[str, str], body: bytes | None = None
    ) -> tuple[int, dict[str, str]]:
        """Status and fields of what peers get."""
        connection = HTTPConnection(*self.address, timeout=60)
        connection.request(method, path, body, fields)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Operated]:
    """One that runs."""
    with Operated(tmp_path / "store") as daemon:
        daemon.start()
        yield daemon


def test_every_wire_is_counted_and_every_upload_has_one_line(
    daemon: Operated, tmp_path: Path
) -> None:
    """By what was done, not by what was tried."""
    data = os.urandom(200_000)
    (tmp_path / "file").write_bytes(data)
    with connect(daemon.url) as client:
        client.upload(tmp_path / "file")
    with urlopen(Request(f"{daemon.url}/put.bin", data, method="PUT")) as answer:
        url = answer.read().decode().strip()
    _, told = daemon.ask("POST", "/files/", TUS | {"Upload-Length": "200000"})
    path = told["location"]
    chunk = TUS | {"Content-Type": "application/offset+octet-stream"}
    for at in (0, 100_000):
        fields = chunk | {"Upload-Offset": str(at), "X-Request-ID": f"mine-{at}"}
        status, told = daemon.ask("PATCH", path, fields, data[at : at + 100_000])
        assert (status, told["x-request-id"]) == (204, f"mine-{at}")
    _, told = daemon.ask("POST", "/files/", TUS | {"Upload-Length": "9"})
    assert daemon.ask("DELETE", told["location"], TUS)[0] == 204
    assert daemon.ask("GET", "/-/info", {"Host": "evil.example"})[0] == 421
    with urlopen(url) as answer:
        assert answer.read() == data

    for wire in ("ws", "put", "tus"):
        assert daemon.number("uploads_finished_total", protocol=wire, result="ok") == 1
        assert daemon.number("received_bytes_total", protocol=wire) == 200_000
        assert daemon.number("ack_latency_seconds_count", protocol=wire) >= 1
    for op in ("write", "flush", "publish"):
        assert daemon.number("store_write_seconds_count", op=op) >= 1
    assert daemon.number("uploads_created_total", protocol="tus") == 2
    assert daemon.number("uploads_finished_total", protocol="tus", result="aborted") == 1
    assert daemon.number("resumes_total", protocol="tus") == 1
    assert daemon.number("stored_bytes_total") == 600_000
    assert daemon.number("sent_bytes_total") == 200_000
    assert daemon.number("upload_size_bytes_sum") == 600_000
    assert daemon.number("http_requests_total", method="PATCH", code="204") == 2
    assert daemon.number("rejected_total", reason="origin") == 1
    assert daemon.number("ws_closes_total", code="1000") == 1
    assert daemon.number("uploads_active") == daemon.number("unfinished_bytes") == 0

    daemon.terminate()
    lines = [json.loads(line) for line in daemon.log.splitlines()]
    ends = [line for line in lines if line["logger"] == "uploadd.upload"]
    assert sorted((line["event"], line["protocol"], line["size_b"]) for line in ends) == [
        ("cancelled", "tus", 0),
        ("published", "put", 200_000),
        ("published", "tus", 200_000),
        ("published", "ws", 200_000),
    ]
    assert len({line["upload_id"] for line in ends}) == 4
    assert [line["request_id"] for line in ends if line["upload_id"] in path] == ["mine-100000"]


HOST = b"Host: localhost\r\n"
EMPTY = b"Content-Length: 0\r\n\r\n"
CHUNK = b"Tus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\n"
NASTY = [
    b"PUT /%0a%1b[2Jforged HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nx",
    b"GET /-/info HTTP/1.1\r\nHost: evil\x1b[2J.example\r\n\r\n",
    b"GET /-/info HTTP/1.1\r\nHost: evil.example\r\nX-Request-ID: a b\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b'Origin: http://a"{}.example\r\n' + EMPTY,
    b"PATCH /files/%0d%0aforged HTTP/1.1\r\n" + HOST + CHUNK + b"Upload-Offset: 0\r\n" + EMPTY,
    b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    bytes(range(256)),
]


def test_nothing_that_peers_say_forges_a_line(daemon: Operated) -> None:
    """Whatever is in paths, names, ids and fields: every line is one object, and none is huge."""
    for said in NASTY:
        with socket.create_connection(daemon.address, timeout=60) as peer, suppress(OSError):
            peer.sendall(said)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65536):
                pass
    daemon.terminate()
    for line in daemon.log.splitlines():
        assert set(json.loads(line)) >= {"time", "level", "logger", "message"}
        assert len(line) < 4096
    assert "published" in daemon.log
    assert "Traceback" not in daemon.log


def test_what_was_refused_too_often_to_be_written_is_counted_at_the_end(daemon: Operated) -> None:
    """A stop does not wait for the end of a minute."""
    for _ in range(MOST + 3):
        assert daemon.ask("GET", "/nothing/here", {})[0] == 404
    daemon.terminate()
    lines = [json.loads(line) for line in daemon.log.splitlines()]
    *written, last = [line for line in lines if line["logger"] == "uploadd.refused"]
    assert (len(written), last["code"], last["level"]) == (MOST, "not-found", "info")
    assert last["message"] == "3 more were refused within a minute, not-found"


def test_what_moves_is_seen_while_it_moves(daemon: Operated) -> None:
    """Counters do not wait for the end of an upload."""
    _, told = daemon.ask("POST", "/files/", TUS | {"Upload-Length": "1000000"})
    sender = HTTPConnection(*daemon.address, timeout=60)
    sender.putrequest("PATCH", told["location"])
    chunk = TUS | {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    for name, value in (chunk | {"Content-Length": "1000000"}).items():
        sender.putheader(name, value)
    sender.endheaders(bytes(300_000))
    assert daemon.settles(lambda: daemon.number("unfinished_bytes") == 300_000)
    assert daemon.number("received_bytes_total", protocol="tus") == 300_000
    assert daemon.number("uploads_active", protocol="tus") == 1
    assert daemon.number("connections", kind="http") == 1
    sender.close()
    assert daemon.settles(lambda: daemon.number("uploads_active") == 0)
    assert daemon.number("received_bytes_total", protocol="tus") == 300_000


def test_it_is_ready_as_long_as_it_takes_uploads(daemon: Operated, tmp_path: Path) -> None:
    """And names what is wrong; alive it is all the same."""
    assert set(daemon.ready()) == {"accepting", "sessions", "store", "space", "ledger"}
    assert json.loads(daemon.look("/readyz")[1])["durability"] == "durable"
    state = daemon.folder / ".uploadd"
    state.rename(tmp_path / "gone")
    assert "cannot be looked at" in daemon.ready()["store"]
    assert daemon.number("ready") == 0
    assert daemon.look("/healthz") == (200, b"ok\n")
    (tmp_path / "gone").rename(state)
    assert set(daemon.ready().values()) == {"ok"}


def test_while_it_drains_it_is_not_ready(tmp_path: Path) -> None:
    """A balancer in front must not send anybody any more."""
    with Operated(tmp_path / "store") as daemon:
        daemon.start()
        form = HTTPConnection(*daemon.address, timeout=60)
        form.putrequest("PUT", "/slow.bin")
        form.putheader("Content-Length", "100")
        form.endheaders(b"half")
        assert daemon.settles(lambda: daemon.number("uploads_active", protocol="put") == 1)
        daemon.signal(signal.SIGTERM)
        assert daemon.settles(lambda: daemon.ready()["accepting"] != "ok")
        form.send(bytes(96))
        assert form.getresponse().status == 201
        form.close()
        assert daemon.wait() == 0
    assert not daemon.back.exists()


def test_no_room_and_written_are_told(tmp_path: Path) -> None:
    """Room beyond the reserve is what counts."""
    args = ("--set", "storage.min_free=1000 TiB", "--set", "durability.ack=written")
    with Operated(tmp_path / "store", *args) as daemon:
        daemon.start()
        assert daemon.ready()["space"] != "ok"
        assert json.loads(daemon.look("/readyz")[1])["durability"] == "written"
        assert daemon.number("durable") == 0


def test_a_reload_that_fails_is_seen(tmp_path: Path) -> None:
    """Until one goes well."""
    file = tmp_path / "uploadd.toml"
    file.write_text("")
    with Operated(tmp_path / "store", "--config", str(file)) as daemon:
        daemon.start()
        assert daemon.number("config_last_reload_successful") == 1
        at = daemon.number("config_last_reload_success_timestamp_seconds")
        file.write_text("[limits]\nmax_refs = 0\n")
        daemon.signal(signal.SIGHUP)
        assert daemon.settles(lambda: daemon.number("config_last_reload_successful") == 0)
        file.write_text("")
        daemon.signal(signal.SIGHUP)
        assert daemon.settles(lambda: daemon.number("config_last_reload_successful") == 1)
        assert daemon.number("config_last_reload_success_timestamp_seconds") > at


def test_only_operators_get_in(daemon: Operated) -> None:
    """Not by the port of peers, and not by a name that is not ours."""
    for path in ("/metrics", "/healthz", "/readyz"):
        assert daemon.ask("GET", path, {})[0] == 404
        assert daemon.look(path, host="evil.example")[0] == 421
        assert daemon.look(path, "POST")[0] == 405
    assert daemon.look("/")[0] == 404
    assert oct(daemon.back.stat().st_mode)[-3:] == "660"


def test_a_place_that_cannot_be_listened_on_is_told(tmp_path: Path) -> None:
    """With the setting, before anything is touched; what lies there is left alone."""
    place = tmp_path / "file"
    place.write_text("mine")
    with Daemon(tmp_path / "store", "--set", f"admin.listen=unix:{place}") as daemon:
        daemon.launch()
        assert daemon.wait() == os.EX_UNAVAILABLE
        assert f"cannot listen on unix:{place} for operators" in daemon.log
    assert place.read_text() == "mine"
