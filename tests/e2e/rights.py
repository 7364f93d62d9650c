"""Every operation on every wire, asked by whoever has which token, of one upload of *ana*'s.

Each function asks once and says in a word what came of it: the status of HTTP, or what was said in
a session.  What is expected stands in ``test_access.py``.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Final

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.e2e.daemon import Daemon

TUS: Final = {"Tus-Resumable": "1.0.0"}
CHUNK: Final = TUS | {"Content-Type": "application/offset+octet-stream"}
IETF: Final = {"Upload-Draft-Interop-Version": "8"}
PARTIAL: Final = IETF | {"Content-Type": "application/partial-upload", "Upload-Complete": "?0"}
FORM: Final = {"Content-Type": "multipart/form-data; boundary=b"}
BODY: Final = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nx\r\n--b--\r\n'
PING: Final = b"\x89\x80\0\0\0\0"
CLOSE: Final = 0x88
WAIT: Final = 30.0
OPEN_PATHS: Final = ("/", "/-/info", "/-/openapi.json", "/-/uploadd.js")


@dataclass
class Asker:
    """Somebody with *token*, or without, before *daemon*; *owner* has what is asked for.

    *late* makes the owner's token, which expires as soon as there is something to ask for.
    """

    daemon: Daemon
    token: str | None
    owner: Asker | None = None
    late: Callable[[], str] | None = None

    def shown(self) -> str | None:
        """The token that is shown now."""
        return self.late() if self.late and not self.token else self.token

    def _grows_old(self) -> None:
        if self.late:
            self.token = self.late()

    # --- HTTP -------------------------------------------------------------------------------

    def ask(
        self, method: str, path: str, fields: dict[str, str] | None = None, body: bytes = b""
    ) -> http.client.HTTPResponse:
        """One request on a connection of its own; its answer, read."""
        token = self.shown()
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        connection = http.client.HTTPConnection(*self.daemon.address, timeout=WAIT)
        with closing(connection):
            connection.request(method, path, body=body, headers=(fields or {}) | bearer)
            answer = connection.getresponse()
            stream = answer.getheader("Content-Type") == "text/event-stream"
            answer.said = b"" if stream else answer.read()  # type: ignore[attr-defined]
            return answer

    def status(self, *request: Any) -> str:
        """What came of one request."""
        return str(self.ask(*request).status)

    # --- WebSocket --------------------------------------------------------------------------

    @contextmanager
    def session(self) -> Iterator[ClientConnection]:
        """A session, token and all, before welcome."""
        token = self.shown() or ""
        packed = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
        offered = ["uploadd.v1", *([f"uploadd.token.{packed}"] if token else [])]
        url = self.daemon.url.replace("http", "ws") + "/-/ws"
        names = [Subprotocol(name) for name in offered]
        with connect(url, subprotocols=names, compression=None, open_timeout=WAIT) as ws:
            ws.send(json.dumps({"type": "hello"}))
            yield ws

    def hears(self, *said: dict[str, Any]) -> str:
        """What is said last to *said* in a session: a type, or the code of an error."""
        with self.session() as ws:
            try:
                told = json.loads(ws.recv(WAIT))
                for one in said:
                    if told["type"] != "error":
                        ws.send(json.dumps(one))
                        told = json.loads(ws.recv(WAIT))
            except ConnectionClosed as closed:
                return str(closed.rcvd.code if closed.rcvd else None)
            return str(told.get("reason") or told.get("code") or told["type"])

    # --- what is asked about: always the owner's --------------------------------------------

    def begun(self, **fields: str) -> str:
        """The path of a new upload of the owner's, of two bytes, none of which is there."""
        owner = self.owner or self
        answer = owner.ask("POST", "/files/", TUS | {"Upload-Length": "2"} | fields)
        assert answer.status == 201, answer.said  # type: ignore[attr-defined]
        self._grows_old()
        return answer.getheader("Location") or ""

    def stored(self) -> str:
        """The id of a new upload of the owner's that is complete."""
        answer = (self.owner or self).ask("PUT", "/name.txt", {}, b"hello")
        assert answer.status == 201, answer.said  # type: ignore[attr-defined]
        self._grows_old()
        return str(answer.said).split("/f/")[1].split("/")[0]  # type: ignore[attr-defined]


def id_of(path: str) -> str:
    return path.rpartition("/")[2]


def _concat(a: Asker) -> str:
    part = a.begun(**{"Upload-Concat": "partial"})
    return a.status("POST", "/files/", TUS | {"Upload-Concat": f"final;{part}"})


def _plain(a: Asker) -> str:
    """A socket as the seeds have it: anything but Close is a welcome."""
    token = a.shown()
    lines = [
        f"GET /?client_id={'c' * 22} HTTP/1.1",
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *([f"Authorization: Bearer {token}"] if token else []),
    ]
    with (
        socket.create_connection(a.daemon.address, timeout=WAIT) as connection,
        connection.makefile("rb") as heard,
    ):
        connection.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
        status = heard.readline().split()[1].decode()
        if status != "101":
            return status
        while heard.readline() != b"\r\n":
            pass
        connection.sendall(PING)
        kind, length = heard.read(2)
        payload = heard.read(length)
        return str(int.from_bytes(payload[:2], "big")) if kind == CLOSE else "open"


def _links(a: Asker, said: dict[str, Any]) -> str:
    return a.status("POST", "/api/links", {}, json.dumps(said).encode())


def _resumes(a: Asker) -> str:
    return a.hears({"type": "begin", "ref": 1, "upload": id_of(a.begun())})


def _watches(a: Asker) -> str:
    return a.hears({"type": "watch", "uploads": [a.stored()]})


def _cancels(a: Asker) -> str:
    said = {"type": "begin", "ref": 1, "upload": id_of(a.begun())}
    return a.hears(said, {"type": "cancel", "ref": 1})


def _says(a: Asker, said: dict[str, Any]) -> str:
    """What is not answered where it is permitted: then the answer to the next question comes."""
    with a.session() as ws:
        told = json.loads(ws.recv(WAIT))
        if told["type"] == "welcome":
            ws.send(json.dumps(said))
            ws.send(json.dumps({"type": "begin", "ref": 1, "upload": "nobodys"}))
            told = json.loads(ws.recv(WAIT))
        return "open" if told.get("code", "not-found") == "not-found" else str(told["code"])


API: Final = "/api/upload/"
Ask = Callable[[Asker], str]
ROWS: Final[dict[str, Ask]] = {
    "create: tus": lambda a: a.status("POST", "/files/", TUS | {"Upload-Length": "2"}),
    "create: tus, whole": lambda a: a.status(
        "POST", "/files/", CHUNK | {"Upload-Length": "1"}, b"x"
    ),
    "create: IETF": lambda a: a.status("POST", "/files/", IETF | {"Upload-Complete": "?0"}),
    "create: IETF, whole": lambda a: a.status(
        "POST", "/files/", IETF | {"Upload-Complete": "?1"}, b"x"
    ),
    "create: IETF, PUT": lambda a: a.status("PUT", "/x", IETF | {"Upload-Complete": "?0"}),
    "create: plain": lambda a: a.status("POST", "/files/", {}, b"x"),
    "create: PUT": lambda a: a.status("PUT", "/x", {}, b"x"),
    "create: form": lambda a: a.status("POST", "/", FORM, BODY),
    "create: posted": lambda a: a.status("POST", "/api/upload", FORM, BODY),
    "create: session": lambda a: a.hears({"type": "begin", "ref": 1}),
    "create: session, key": lambda a: a.hears({"type": "begin", "ref": 1, "key": token_hex(11)}),
    "concat: tus": _concat,
    "append: tus": lambda a: a.status("PATCH", a.begun(), CHUNK | {"Upload-Offset": "0"}, b"x"),
    "append: tus, last": lambda a: a.status(
        "PATCH", a.begun(), CHUNK | {"Upload-Offset": "0"}, b"xy"
    ),
    "append: POST for PATCH": lambda a: a.status(
        "POST",
        a.begun(),
        CHUNK | {"Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"},
        b"x",
    ),
    "append: IETF": lambda a: a.status("PATCH", a.begun(), PARTIAL | {"Upload-Offset": "0"}, b"x"),
    "append: IETF, last": lambda a: a.status(
        "PATCH",
        a.begun(),
        PARTIAL | {"Upload-Offset": "0", "Upload-Complete": "?1"},
        b"xy",
    ),
    "append: session": _resumes,
    "offset: tus": lambda a: a.status("HEAD", a.begun(), TUS),
    "offset: IETF": lambda a: a.status("HEAD", a.begun(), IETF),
    "look: API": lambda a: a.status("GET", API + id_of(a.begun())),
    "look: API, status": lambda a: a.status("GET", API + a.stored() + "/status"),
    "look: API, waiting": lambda a: a.status("GET", API + a.stored() + "/status?wait=30"),
    "look: IETF, GET": lambda a: a.status("GET", a.begun(), IETF),
    "watch: events": lambda a: a.status("GET", f"/api/events?upload={a.stored()}"),
    "watch: session": _watches,
    "watch mine: events": lambda a: a.status("GET", "/api/events?upload=mine"),
    "watch mine: plain": _plain,
    "watch mine: session": lambda a: _says(a, {"type": "watch", "uploads": "mine"}),
    "watch all: session": lambda a: _says(a, {"type": "watch", "uploads": "all"}),
    "watch all: events": lambda a: a.status("GET", "/api/events?upload=all"),
    "read: GET": lambda a: a.status("GET", f"/f/{a.stored()}/name.txt"),
    "read: HEAD": lambda a: a.status("HEAD", f"/f/{a.stored()}"),
    "read: where it was sent": lambda a: a.status("GET", f"/files/{a.stored()}"),
    "cancel: tus": lambda a: a.status("DELETE", a.begun(), TUS),
    "cancel: IETF": lambda a: a.status("DELETE", a.begun(), IETF),
    "cancel: API": lambda a: a.status("POST", API + id_of(a.begun()) + "/cancel"),
    "cancel: API, DELETE": lambda a: a.status("DELETE", API + id_of(a.begun())),
    "cancel: session": _cancels,
    "delete: tus": lambda a: a.status("DELETE", f"/files/{a.stored()}", TUS),
    "delete: IETF": lambda a: a.status("DELETE", f"/files/{a.stored()}", IETF),
    "delete: API": lambda a: a.status("DELETE", API + a.stored()),
    "list mine: API": lambda a: a.status("GET", "/api/uploads?of=mine"),
    "list mine: active": lambda a: a.status("GET", "/api/uploads/active?of=mine"),
    "list mine: notices": lambda a: a.status("GET", "/api/notices"),
    "list mine: read": lambda a: a.status("POST", "/api/notices/read", {}, b'{"notices":"all"}'),
    "list mine: session": lambda a: _says(a, {"type": "read", "notices": "all"}),
    "list all: API": lambda a: a.status("GET", "/api/uploads?of=all"),
    "list all: active": lambda a: a.status("GET", "/api/uploads/active"),
    "link to have": lambda a: _links(a, {"upload": a.stored()}),
    "link to send": lambda a: _links(a, {}),
}
