"""Hooks of a real daemon: receivers that are processes, refusals on every wire, kills."""

from __future__ import annotations

import base64
import http.client
import json
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import connect

from tests.e2e.daemon import Daemon
from uploadd.protocol.webhooks import headers, key_of

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


class Receiver(ThreadingHTTPServer):
    """As somebody would write it for tusd, with the standard library."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.failing = 0
        """Answers that are failures, from now on."""

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def kinds(self) -> list[str]:
        """What it was told of, in order."""
        return [document["Type"] for _, document in self.told]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        document = json.loads(body)
        at = float(self.headers["webhook-timestamp"])
        expected = dict(headers(key_of(SECRET), self.headers["webhook-id"], at, body))
        assert self.headers["webhook-signature"] == expected["webhook-signature"]
        if self.server.failing:
            self.server.failing -= 1
            self.send_error(503)
            return
        self.server.told.append((self.headers["webhook-id"], document))
        answer = json.dumps(self.server.answers.get(document["Type"], {})).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """One that listens."""
    with Receiver() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@contextmanager
def hooked(folder: Path, receiver: Receiver, *events: str) -> Iterator[Daemon]:
    """A daemon that is to tell *receiver* of these events."""
    secret = folder.parent / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    sets = (f"url={receiver.url}", f"events={','.join(events)}", f"secret_file={secret}")
    args = [part for one in sets for part in ("--set", f"hook.app.{one}")]
    with Daemon(folder, *args) as daemon:
        daemon.start()
        yield daemon


def ask(
    daemon: Daemon, method: str, path: str, body: bytes = b"", **fields: str
) -> http.client.HTTPResponse:
    """One request; the body of its answer is read into ``said``."""
    connection = http.client.HTTPConnection(*daemon.address, timeout=30)
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    answer.said = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


TUS = {"Tus_Resumable": "1.0.0"}
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\n\r\nhello\r\n--b--\r\n'
)
WIRES: dict[str, tuple[str, str, bytes, dict[str, str]]] = {
    "put": ("PUT", "/a.txt", b"hello", {}),
    "tus": ("POST", "/files/", b"", {**TUS, "Upload_Length": "5"}),
    "ietf": ("POST", "/files/", b"hello", {"Upload_Complete": "?1"}),
    "form": ("POST", "/", FORM, {"Content_Type": "multipart/form-data; boundary=b"}),
}


def begun(daemon: Daemon, **begin: Any) -> dict[str, Any]:
    """The last word that a session says of a new upload, whose bytes follow at once."""
    with connect(
        daemon.url.replace("http", "ws") + "/-/ws", subprotocols=["uploadd.v1"]
    ) as session:  # type: ignore[list-item]
        session.send(json.dumps({"type": "hello"}))
        session.recv()
        session.send(json.dumps({"type": "begin", "ref": 1, "name": "a.txt", "length": 5, **begin}))
        session.send(b"\x01\x02\0\0" + (1).to_bytes(4) + bytes(8) + b"hello")
        while True:
            said: dict[str, Any] = json.loads(session.recv(30))
            if said["type"] in ("done", "error", "gone"):
                return said


def test_a_refusal_is_told_on_every_wire(tmp_path: Path, receiver: Receiver) -> None:
    """Status and words are the hook's; nothing is stored."""
    receiver.answers["pre-create"] = {
        "RejectUpload": True,
        "HTTPResponse": {"StatusCode": 402, "Body": "pay first"},
    }
    with hooked(tmp_path / "served", receiver, "pre-create") as daemon:
        for wire, (method, path, body, fields) in WIRES.items():
            answer = ask(daemon, method, path, body, **fields)
            assert answer.status == 402, wire
            assert b"pay first" in answer.said, wire  # type: ignore[attr-defined]
        for key in ({}, {"key": "k" * 22}):
            said = begun(daemon, **key)
            assert (said["code"], said["message"], said["final"]) == ("refused", "pay first", True)
        assert receiver.kinds() == ["pre-create"] * 6
        assert not [file for file in (tmp_path / "served").iterdir() if file.is_file()]


def test_a_hook_renames_on_every_wire(tmp_path: Path, receiver: Receiver) -> None:
    """And chooses the folder; the client's key finds its upload all the same."""
    receiver.answers["pre-create"] = {
        "ChangeFileInfo": {
            "MetaData": {"filename": "b.txt"},
            "Storage": {"Path": "by/hook/../b.txt"},
        }
    }
    folder = tmp_path / "served"
    with hooked(folder, receiver, "pre-create", "post-finish") as daemon:
        for method, path, body, fields in (WIRES["put"], WIRES["ietf"], WIRES["form"]):
            assert ask(daemon, method, path, body, **fields).status in (200, 201)
        first, again = begun(daemon, key="k" * 22), begun(daemon, key="k" * 22)
        assert first == again
        assert first["type"] == "done"
        assert first["url"].endswith("/b.txt")
        stored = sorted(str(file.relative_to(folder)) for file in folder.glob("by/**/*.txt"))
        assert stored == ["by/hook/b-2.txt", "by/hook/b-3.txt", "by/hook/b-4.txt", "by/hook/b.txt"]
        assert daemon.settles(lambda: receiver.kinds().count("post-finish") == 4)
        places = {
            document["Event"]["Upload"]["Storage"]["Path"]
            for _, document in receiver.told
            if document["Type"] == "post-finish"
        }
        assert places == {str(folder / name) for name in stored}


def test_before_it_is_published_a_hook_sees_the_bytes_and_may_refuse_them(
    tmp_path: Path, receiver: Receiver
) -> None:
    """As a virus scanner would, by the path that it is told."""
    seen = tmp_path / "seen"
    scanner = tmp_path / "scan.py"
    scanner.write_text(
        f"#!{sys.executable}\n"
        "import json, sys\n"
        "event = json.load(sys.stdin)['Event']['Upload']\n"
        "data = open(event['Storage']['Path']).read()\n"
        f"open({str(seen)!r}, 'w').write(data)\n"
        "print(json.dumps({'RejectUpload': 'virus' in data}))\n"
    )
    scanner.chmod(0o755)
    sets = (f"run={scanner}", "events=pre-finish")
    args = [part for one in sets for part in ("--set", f"hook.scan.{one}")]
    with Daemon(tmp_path / "served", *args) as daemon:
        daemon.start()
        assert ask(daemon, "PUT", "/good.txt", b"good").status == 201
        assert seen.read_text() == "good"
        assert ask(daemon, "PUT", "/bad.txt", b"a virus").status == 400
        assert [file.name for file in (tmp_path / "served").glob("*.txt")] == ["good.txt"]


def test_without_an_answer_nothing_is_done(tmp_path: Path, receiver: Receiver) -> None:
    """A hook that is broken refuses everything, and says that it may pass."""
    events = "pre-create", "pre-terminate"
    with hooked(tmp_path / "served", receiver, *events) as daemon:
        receiver.failing = 1
        answer = ask(daemon, "PUT", "/a.txt", b"hello")
        assert answer.status == 503
        assert answer.headers["Retry-After"]
        told = json.loads(answer.said)  # type: ignore[attr-defined]
        assert told["code"] == "hook-failed"
        assert "127.0.0.1" not in told["detail"]  # that is for the log
        refused = f"{told['request_id']} was refused, hook-failed: {told['detail']} ("
        assert daemon.settles(lambda: refused in daemon.log)
        assert daemon.log.partition(refused)[2].splitlines()[0].endswith(" answers 503)")
        assert ask(daemon, "PUT", "/a.txt", b"hello").status == 201


def test_ending_an_upload_may_be_refused(tmp_path: Path, receiver: Receiver) -> None:
    """Then it stays; and whoever is told afterwards is told of all ends."""
    receiver.answers["pre-terminate"] = {"RejectTermination": True}
    events = "pre-terminate", "post-create", "post-terminate"
    with hooked(tmp_path / "served", receiver, *events) as daemon:
        answer = ask(daemon, "POST", "/files/", Upload_Length="5", **TUS)
        place = urlsplit(answer.headers["Location"]).path
        assert ask(daemon, "DELETE", place, **TUS).status == 400
        assert ask(daemon, "HEAD", place, **TUS).headers["Upload-Offset"] == "0"
        receiver.answers.clear()
        assert ask(daemon, "DELETE", place, **TUS).status == 204
        assert daemon.settles(lambda: receiver.kinds().count("post-terminate") == 1)
        assert receiver.kinds()[-1] == "post-terminate"
        assert receiver.kinds().count("post-create") == 1


def test_how_far_it_is_and_no_further(tmp_path: Path, receiver: Receiver) -> None:
    """A hook that has seen enough stops it: its sender is told why."""
    receiver.answers["post-receive"] = {
        "StopUpload": True,
        "HTTPResponse": {"StatusCode": 409, "Body": "enough"},
    }
    with hooked(tmp_path / "served", receiver, "post-receive") as daemon:
        answer = ask(daemon, "POST", "/files/", Upload_Length="1000000", **TUS)
        place = urlsplit(answer.headers["Location"]).path
        connection = http.client.HTTPConnection(*daemon.address, timeout=30)
        connection.putrequest("PATCH", place)
        chunk = {"Content-Type": "application/offset+octet-stream", "Content-Length": "1000000"}
        for name, value in {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", **chunk}.items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(b"x" * 500_000)
        answer = connection.getresponse()  # while half of the body is still to come
        assert (answer.status, answer.read()) == (409, b"enough")
        connection.close()
        assert ask(daemon, "HEAD", place, **TUS).status in (404, 410)


@pytest.mark.parametrize("rounds", [4, pytest.param(100, marks=pytest.mark.long)])
def test_no_event_is_lost_by_kills(tmp_path: Path, receiver: Receiver, rounds: int) -> None:
    """Killed between the answer and the telling, and while it tells: every file is told of.

    Under one id each, however often; and the receiver fails now and then, too.
    """
    published: set[str] = set()
    with hooked(tmp_path / "served", receiver, "post-finish") as daemon:
        for _ in range(rounds):
            receiver.failing = random.randrange(3)
            for number in range(random.randrange(1, 12)):
                answer = ask(daemon, "PUT", f"/{number}.txt", b"hello")
                assert answer.status == 201
                published.add(answer.said.decode().split("/f/")[1].split("/")[0])  # type: ignore[attr-defined]
            daemon.kill()
            daemon.start()
        assert daemon.settles(
            lambda: {id for id, _ in receiver.told} == {f"{id}.post-finish" for id in published}
        )
