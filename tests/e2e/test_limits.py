"""Every limit saturated once, before the real daemon, on every wire that it holds on."""

from __future__ import annotations

import base64
import http.client
import json
import select
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from tests import wire
from tests.e2e.daemon import Daemon
from tests.e2e.rights import CHUNK, FORM, IETF, TUS, Asker
from uploadd.auth import files
from uploadd.protocol.tokens import Claims

MB: Final = 1_000_000
PNG: Final = b"\x89PNG\r\n\x1a\n" + bytes(2000)
RACERS: Final = 50


@pytest.fixture
def store(memory: Path) -> Path:
    """A folder."""
    return memory / "served"


def start(store: Path, **limits: object) -> Daemon:
    """A daemon with these limits."""
    sets = [arg for name, value in limits.items() for arg in ("--set", f"limits.{name}={value}")]
    return Daemon(store, *sets)


def token(store: Path, subject: str) -> str:
    """A token for *subject*."""
    return files.new_token(str(store / ".uploadd" / "tokens"), Claims(subject))


def said(answer: http.client.HTTPResponse) -> dict[str, Any]:
    """The problem document of a refusal."""
    told: dict[str, Any] = json.loads(answer.said)  # type: ignore[attr-defined]
    return told


def form(data: bytes, name: str = "a") -> bytes:
    """A form with one file."""
    head = f'--b\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n\r\n'
    return head.encode() + data + b"\r\n--b--\r\n"


# --- the quota of one owner -----------------------------------------------------------------------


def tus(a: Asker) -> bool:
    return a.status("POST", "/files/", TUS | {"Upload-Length": str(6 * MB // 10)}) == "201"


def ietf(a: Asker) -> bool:
    fields = IETF | {"Upload-Complete": "?0", "Upload-Length": str(6 * MB // 10)}
    return a.status("POST", "/files/", fields) in ("104", "201")


def put(a: Asker) -> bool:
    return a.status("PUT", "/x", {}, bytes(6 * MB // 10)) == "201"


def posted(a: Asker) -> bool:
    return a.status("POST", "/api/upload", FORM, form(bytes(6 * MB // 10))) == "201"


def deferred(a: Asker) -> bool:
    """Begun by everybody, and grown by one."""
    answer = a.ask("POST", "/files/", TUS | {"Upload-Defer-Length": "1"})
    path = answer.getheader("Location") or ""
    return a.status("PATCH", path, CHUNK | {"Upload-Offset": "0"}, bytes(6 * MB // 10)) == "204"


def session(a: Asker) -> bool:
    return a.hears({"type": "begin", "ref": 1, "length": 6 * MB // 10}) == "ready"


WIRES: Final = (tus, ietf, put, posted, deferred, session)


def test_of_fifty_at_once_no_more_get_in_than_there_is_room_for(store: Path) -> None:
    """Each wants more than half of what its owner may have, on every wire; after kill -9, too."""
    tokens = {way.__name__: token(store, way.__name__) for way in WIRES}
    with start(store, max_total="1 MB") as daemon:
        daemon.start()
        with ThreadPoolExecutor(RACERS) as racers:
            for way in WIRES:
                asker = Asker(daemon, tokens[way.__name__])
                won = sum(racers.map(way, [asker] * RACERS))
                assert won <= 1, way.__name__
                assert won == 1 or way in (posted, deferred), way.__name__
        daemon.kill()
        daemon.start()
        left = {name: used(Asker(daemon, told)) for name, told in tokens.items()}
        assert all(0 <= left[way.__name__] <= MB for way in WIRES), left
        assert {left["tus"], left["ietf"], left["put"], left["session"]} == {4 * MB // 10}
        asker = Asker(daemon, tokens["put"])
        answer = asker.ask("PUT", "/more", {}, bytes(MB // 2))
        assert (answer.status, said(answer)["code"]) == (413, "over-quota")
        assert "390.6 KiB left of 976.6 KiB" in said(answer)["detail"]
        [kept] = json.loads(asker.ask("GET", "/api/uploads?of=mine").said)["uploads"]  # type: ignore[attr-defined]
        assert asker.status("DELETE", f"/api/upload/{kept['upload']}") == "204"
        assert asker.status("PUT", "/more", {}, bytes(MB // 2)) == "201"
        assert "Traceback" not in daemon.log, daemon.log


def used(a: Asker) -> int:
    """What a session is told that is left."""
    with a.session() as ws:
        return int(json.loads(ws.recv())["limits"]["left"])


def test_an_owner_keeps_so_many_uploads(store: Path) -> None:
    """Complete ones count; what is cancelled does not."""
    with start(store, max_uploads=2) as daemon:
        ana, ben = (Asker(daemon, token(store, name)) for name in ("ana", "ben"))
        daemon.start()
        assert ana.status("PUT", "/a", {}, b"x") == "201"
        path = ana.begun()
        answer = ana.ask("PUT", "/b", {}, b"x")
        assert (answer.status, said(answer)["code"]) == (413, "over-quota")
        assert ana.hears({"type": "begin", "ref": 1}) == "over-quota"
        assert ben.status("PUT", "/b", {}, b"x") == "201"
        assert ana.status("DELETE", path, TUS) == "204"
        assert ana.status("PUT", "/b", {}, b"x") == "201"


# --- at one time ----------------------------------------------------------------------------------


class Slow:
    """A PUT whose body comes in halves."""

    def __init__(self, daemon: Daemon) -> None:
        self.connection = socket.create_connection(daemon.address, timeout=60)
        self.connection.sendall(
            wire.head(b"Content-Length: 4", method=b"PUT", target=b"/slow", host=b"localhost")
            + b"ab"
        )

    def end(self) -> bytes:
        """Send the rest; the first line of the answer."""
        self.connection.sendall(b"cd")
        with closing(self.connection):
            return self.connection.recv(99).split(b"\r\n")[0]


def test_so_many_uploads_run_at_one_time(store: Path) -> None:
    """Of one address, in requests and sessions together; the next is told to wait."""
    with start(store, uploads_each=2) as daemon:
        daemon.start()
        nobody = Asker(daemon, None)
        with nobody.session() as ws:
            ws.recv()
            ws.send(json.dumps({"type": "begin", "ref": 1}))
            assert json.loads(ws.recv())["type"] == "ready"
            slow = Slow(daemon)
            assert daemon.settles(lambda: nobody.status("PUT", "/x", {}, b"x") == "429")
            answer = nobody.ask("PUT", "/x", {}, b"x")
            assert (said(answer)["code"], answer.getheader("Retry-After")) == ("too-many", "5")
            ws.send(json.dumps({"type": "begin", "ref": 2}))
            assert json.loads(ws.recv())["code"] == "too-many"
            assert slow.end().endswith(b"201 Created")
            assert daemon.settles(lambda: nobody.status("PUT", "/x", {}, b"x") == "201")


def test_so_many_sessions_are_open_at_one_time(store: Path) -> None:
    """Of one owner, wherever they come from; and of one address."""
    with start(store, sessions_each=1) as daemon:
        ana, ben = (Asker(daemon, token(store, name)) for name in ("ana", "ben"))
        daemon.start()
        with ana.session() as ws:
            assert json.loads(ws.recv())["type"] == "welcome"
            fields = "\r\n".join(line.decode() for line in wire.handshake().split(b"\r\n")[1:-2])
            asked = dict(line.split(": ", 1) for line in fields.split("\r\n"))
            answer = ben.ask("GET", "/-/ws", asked)
            assert (answer.status, said(answer)["code"]) == (429, "too-many")
        assert daemon.settles(lambda: ben.hears() == "welcome")


def test_an_address_has_so_many_connections(store: Path) -> None:
    """The next is closed before anything is read; when one ends there is room again."""
    with start(store, connections_each=2) as daemon:
        daemon.start()
        with (
            closing(socket.create_connection(daemon.address)) as first,
            closing(socket.create_connection(daemon.address)),
        ):
            with closing(socket.create_connection(daemon.address, timeout=60)) as third:
                assert third.recv(1) == b""
            first.close()
            assert daemon.settles(lambda: answered(daemon))


def answered(daemon: Daemon) -> bool:
    try:
        return Asker(daemon, None).status("GET", "/-/info") == "200"
    except OSError:
        return False


def test_an_address_makes_so_many_requests_a_second(store: Path) -> None:
    """But HEAD is never told so: tus clients would begin again from nothing."""
    with start(store, requests_each=5) as daemon:
        daemon.start()
        nobody = Asker(daemon, None)
        path = nobody.begun()
        answers = [nobody.ask("GET", "/-/info") for _ in range(30)]
        late = [answer for answer in answers if answer.status == 429]
        assert late
        assert said(late[0])["code"] == "too-often"
        assert late[0].getheader("Retry-After") is not None
        assert {nobody.status("HEAD", path, TUS) for _ in range(30)} == {"200"}


# --- the pace -------------------------------------------------------------------------------------

RATE: Final = 5 * MB
SENT: Final = 3 * MB
LEAST: Final = (SENT - RATE // 10 - MB) / RATE
"""Seconds that it takes at least: but for the burst, and for the last step."""


def chunked(a: Asker) -> None:
    connection = http.client.HTTPConnection(*a.daemon.address, timeout=60)
    with closing(connection):
        connection.request("PUT", "/x", iter([bytes(MB)] * 3), encode_chunked=True)
        assert connection.getresponse().status == 201


def by_kernel(a: Asker) -> None:
    assert a.status("PUT", "/x", {}, bytes(SENT)) == "201"


def in_a_session(a: Asker) -> None:
    """As a client does that keeps to its credit."""
    with a.session() as ws:
        ws.recv()
        ws.send(json.dumps({"type": "begin", "ref": 1, "length": SENT}))
        sent, limit = 0, json.loads(ws.recv())["limit"]
        while sent < SENT:
            while (end := min(limit, SENT, sent + 100_000)) <= sent:
                limit = json.loads(ws.recv())["limit"]
            ws.send(wire.chunk(1, sent, bytes(end - sent), last=end == SENT))
            sent = end
        while json.loads(ws.recv())["type"] != "done":
            pass


def many_small(a: Asker) -> None:
    """A rate that holds for large uploads alone is none."""
    for _ in range(30):
        assert a.status("PUT", "/x", {}, bytes(SENT // 30)) == "201"


@pytest.mark.parametrize("limit", ["rate", "rate_each"])
def test_nothing_comes_faster_than_the_rate(store: Path, limit: str) -> None:
    """By the kernel, in chunks, in a session, in many small ones; what came is whole."""
    with start(store, **{limit: "5 MB/s"}) as daemon:
        daemon.start()
        for way in (by_kernel, chunked, in_a_session, many_small):
            began = time.monotonic()
            way(Asker(daemon, None))
            assert time.monotonic() - began >= LEAST, way.__name__
        assert "Traceback" not in daemon.log, daemon.log


# --- kinds of files -------------------------------------------------------------------------------


def name_of(name: str) -> dict[str, str]:
    return {"Upload-Metadata": f"filename {base64.b64encode(name.encode()).decode()}"}


def sends(a: Asker, way: str, name: str, data: bytes) -> str:
    """What comes of *data* under this *name*."""
    if way == "put":
        return a.status("PUT", f"/{name}", {}, data)
    if way == "form":
        return a.status("POST", "/", FORM, form(data, name))
    if way == "tus, whole":
        fields = CHUNK | {"Upload-Length": str(len(data))} | name_of(name)
        return a.status("POST", "/files/", fields, data)
    if way == "tus":
        answer = a.ask("POST", "/files/", TUS | {"Upload-Length": str(len(data))} | name_of(name))
        path = answer.getheader("Location")
        fields = CHUNK | {"Upload-Offset": "0"}
        return a.status("PATCH", path, fields, data) if path else str(answer.status)
    with a.session() as ws:
        ws.recv()
        ws.send(json.dumps({"type": "begin", "ref": 1, "name": name}))
        ws.send(wire.chunk(1, 0, data, last=True))
        while (told := json.loads(ws.recv()))["type"] in ("ready", "ack"):
            pass
        return {"done": "201", "type-not-allowed": "415"}[told.get("code") or told["type"]]


WAYS: Final = ("put", "form", "tus, whole", "tus", "session")


@pytest.mark.parametrize("size", [100, 300_000])
def test_a_kind_that_is_not_taken_is_refused_by_name_and_by_content(store: Path, size: int) -> None:
    """On every wire, small and through the kernel; nothing of it is left."""
    with start(store, types="image/*") as daemon:
        daemon.start()
        nobody = Asker(daemon, None)
        for way in WAYS:
            assert sends(nobody, way, "good.png", PNG + bytes(size)) in ("201", "204"), way
            assert sends(nobody, way, "evil.exe", PNG + bytes(size)) == "415", way
            assert sends(nobody, way, "evil.png", b"<html>" + bytes(size)) == "415", way
        states = "receiving,queued,storing,published"
        listed = json.loads(nobody.ask("GET", f"/api/uploads?state={states}").said)  # type: ignore[attr-defined]
        assert {one["name"] for one in listed["uploads"]} <= {"good.png"}
        assert [path for path in store.iterdir() if "evil" in path.name] == []
        info = json.loads(nobody.ask("GET", "/-/info").said)  # type: ignore[attr-defined]
        assert info["limits"]["types"] == ["image/*"]
        assert "Traceback" not in daemon.log, daemon.log


# --- told before the first byte -------------------------------------------------------------------


def test_what_is_bounded_is_told_before_the_first_byte(store: Path) -> None:
    """In the words of every wire; and what is not bounded is not spoken of."""
    with start(store, max_total="9 MB", max_length="5 MB", rate="1 MB/s") as daemon:
        daemon.start()
        nobody = Asker(daemon, None)
        limits = json.loads(nobody.ask("GET", "/-/info").said)["limits"]  # type: ignore[attr-defined]
        assert (limits["max_length"], limits["max_total"], limits["rate"]) == (5 * MB, 9 * MB, MB)
        assert "types" not in limits
        assert used(nobody) == 9 * MB
        answer = nobody.ask("OPTIONS", "/files/", TUS)
        assert answer.getheader("Tus-Max-Size") == str(5 * MB)
        assert f"max-size={5 * MB}" in (answer.getheader("Upload-Limit") or "")
        refused = nobody.ask("POST", "/files/", TUS | {"Upload-Length": str(6 * MB)})
        assert (refused.status, said(refused)["code"]) == (413, "too-large")


# --- another limit while it runs ------------------------------------------------------------------


class Changing(Daemon):
    """A daemon whose limits are in a file."""

    def __init__(self, store: Path) -> None:
        self.file = store.parent / "uploadd.toml"
        self.file.write_text("")
        super().__init__(store, "--config", str(self.file))

    def change(self, **limits: object) -> None:
        """Let it read these limits, and no others."""
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in limits.items()]
        self.file.write_text("[limits]\n" + "".join(lines))
        before = self.log.count("was read again")
        self.signal(signal.SIGHUP)
        assert self.settles(lambda: self.log.count("was read again") > before)
        assert "takes effect after a restart" not in self.log


def test_a_quota_that_comes_later_holds_for_what_is_here(store: Path) -> None:
    """All of it was counted; and one that goes is gone."""
    with Changing(store) as daemon:
        ana = Asker(daemon, token(store, "ana"))
        daemon.start()
        assert ana.status("PUT", "/a", {}, bytes(6 * MB // 10)) == "201"
        path = ana.begun()
        daemon.change(max_total="1 MB", max_uploads=2)
        assert used(ana) == 4 * MB // 10 - 2
        assert json.loads(ana.ask("GET", "/-/info").said)["limits"]["max_total"] == MB  # type: ignore[attr-defined]
        assert said(ana.ask("PUT", "/b", {}, b"x"))["code"] == "over-quota"
        assert ana.status("DELETE", path, TUS) == "204"
        assert ana.status("PUT", "/b", {}, bytes(MB // 2)) == "413"
        assert ana.status("PUT", "/b", {}, b"x") == "201"
        daemon.change()
        assert ana.status("PUT", "/c", {}, bytes(MB // 2)) == "201"


def test_places_and_paces_change_while_it_runs(store: Path) -> None:
    """Also for who has one: a body that would take minutes ends when it may."""
    with Changing(store) as daemon, ThreadPoolExecutor() as threads:
        daemon.start()
        nobody = Asker(daemon, None)
        daemon.change(uploads_each=1, rate_each="20 kB/s", rate="20 kB/s")
        slow = threads.submit(nobody.status, "PUT", "/slow", {}, bytes(3 * MB))
        assert daemon.settles(lambda: nobody.status("PUT", "/x", {}, b"x") == "429")
        daemon.change(rate_each="1 GB/s", rate="20 kB/s", requests_each=1)
        assert daemon.settles(lambda: nobody.status("GET", "/-/info") == "429")
        assert slow.running()
        daemon.change(connections_each=1)
        assert slow.result(60) == "201"
        let_in: list[socket.socket] = []
        assert daemon.settles(lambda: stays(daemon, let_in))
        with closing(let_in[0]):
            with closing(socket.create_connection(daemon.address, timeout=60)) as second:
                assert second.recv(1) == b""
            daemon.change()
            assert nobody.status("PUT", "/x", {}, b"x") == "201"
        assert "Traceback" not in daemon.log, daemon.log


def stays(daemon: Daemon, let_in: list[socket.socket]) -> bool:
    """Whether a new connection is answered; then it is among those that were *let_in*."""
    connection = socket.create_connection(daemon.address, timeout=60)
    with suppress(OSError):
        connection.sendall(wire.head(target=b"/-/info", host=b"localhost"))
        if connection.recv(12) == b"HTTP/1.1 200":
            let_in.append(connection)
            return True
    connection.close()
    return False


# --- the least pace -------------------------------------------------------------------------------

SHORT: Final = (
    "import sys; from uploadd.cli import main; from uploadd.serve import pace;"
    "pace.PACE_SECONDS = 0.2; sys.argv = sys.argv[3:]; sys.exit(main())"
)
"""Runs the daemon, for which a minute is over soon."""


def trickle(daemon: Daemon, request: bytes) -> bytes:
    """Say *request*, and a byte of its body now and then, until there is an answer."""
    with closing(socket.create_connection(daemon.address, timeout=60)) as connection:
        connection.sendall(request)
        heard = False
        while not heard:
            connection.sendall(b"1\r\nx\r\n" if b"chunked" in request else b"x")
            heard = bool(select.select([connection], [], [], 0.02)[0])
        return connection.recv(65536)


@pytest.mark.parametrize("framing", [b"Transfer-Encoding: chunked", b"Content-Length: 1000000"])
def test_a_body_that_only_trickles_is_given_up(store: Path, framing: bytes) -> None:
    """Read by us or by the kernel; what came is kept, and who hurries on from there gets through.

    What cannot be resumed is thrown away.
    """
    under = (sys.executable, "-c", SHORT)
    with Daemon(store, "--set", "limits.min_rate=1 MB/s", under=under) as daemon:
        daemon.start()
        nobody = Asker(daemon, None)
        answer = nobody.ask("POST", "/files/", TUS | {"Upload-Length": "1000000"})
        path = answer.getheader("Location") or ""
        lines = [f"{name}: {value}".encode() for name, value in CHUNK.items()]
        patch = {"method": b"PATCH", "target": path.encode(), "host": b"localhost"}
        heard = trickle(daemon, wire.head(*lines, b"Upload-Offset: 0", framing, **patch))
        assert heard.startswith(b"HTTP/1.1 408 ")
        assert b'"code": "too-slow"' in heard
        at = int(nobody.ask("HEAD", path, TUS).getheader("Upload-Offset") or 0)
        assert at > 0
        rest = CHUNK | {"Upload-Offset": str(at)}
        assert nobody.status("PATCH", path, rest, bytes(MB - at)) == "204"

        put = wire.head(framing, method=b"PUT", target=b"/slow", host=b"localhost")
        assert trickle(daemon, put).startswith(b"HTTP/1.1 408 ")
        line = f"Content-Type: {FORM['Content-Type']}".encode()
        post = wire.head(line, framing, method=b"POST", host=b"localhost")
        begins = form(b"")[:-9]
        begins = b"%x\r\n%b\r\n" % (len(begins), begins) if b"chunked" in framing else begins
        assert trickle(daemon, post + begins).startswith(b"HTTP/1.1 408 ")
        assert not (store / "slow").exists()
        assert not (store / "a").exists()
        assert "Traceback" not in daemon.log, daemon.log


# --- who is counted -------------------------------------------------------------------------------


def test_what_a_peer_says_of_itself_counts_for_nothing(store: Path) -> None:
    """Only behind a proxy of ours, and then what that proxy has said, which is the last.

    No host that a peer invents gets into what it is told.
    """
    invented = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    with start(store, requests_each=5) as daemon:
        daemon.start()
        nobody = Asker(daemon, None)
        lies = [{"X-Forwarded-For": f"192.0.2.{n}", "X-Real-IP": f"192.0.2.{n}"} for n in range(30)]
        assert "429" in {nobody.status("GET", "/-/info", lie) for lie in lies}
    proxy = ("--set", "server.proxies=127.0.0.1")
    with Daemon(store, "--set", "limits.requests_each=5", *proxy) as daemon:
        daemon.start()
        nobody = Asker(daemon, None)
        assert {nobody.status("GET", "/-/info", lie) for lie in lies} == {"200"}
        same = [{"X-Forwarded-For": f"192.0.2.{n}, 198.51.100.7"} for n in range(30)]
        assert "429" in {nobody.status("GET", "/-/info", lie) for lie in same}
        created = nobody.ask("POST", "/files/", TUS | {"Upload-Length": "2"} | lies[0] | invented)
        assert (created.getheader("Location") or "").startswith("/files/")
        put = nobody.ask("PUT", "/x", lies[1] | invented, b"x")
        assert b"evil" not in put.said  # type: ignore[attr-defined]
        assert put.status == 201
