"""Upload files to an uploadd server, from a host that has Python 3.9 and nothing else.

  curl -O http://host:8080/-/put.py && python3 put.py FILE... http://host:8080
  curl -s http://host:8080/-/put.py | python3 - FILE... http://host:8080

Prints one URL for each file. Whatever interrupts it, the same command goes on where it was. The
file - is standard input. $UPLOADD_TOKEN is the token, $UPLOADD_URL the server if none is named.
Exit status: 0 all stored, 1 some failed, 2 usage, 3 server unreachable (the same command goes on),
4 not authorised, 5 rejected, 6 file not readable, 7 what arrived differs, 130 interrupted.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import http.client
import json
import os
import random
import select
import shlex
import ssl
import sys
import time
from contextlib import suppress
from typing import Any, Callable  # noqa: UP035 - to be found there by 3.9 and linters alike
from urllib.parse import urljoin, urlsplit

STATUS = {
    "taken-over": 1,
    "pipe": 1,
    "unreachable": 3,
    "token": 4,
    "local": 6,
    "digest-mismatch": 7,
}
LATER = {"unreachable", "too-slow", "too-many", "holder-stuck", "internal", "draining"}
VANISHED = {"gone", "not-found", "key-conflict", "expired", "deleted", "cancelled", "lost"}
HTTP = dict.fromkeys((408, 423, 425, 429, 500, 502, 503, 504), "unreachable") | {401: "token"}
HINTS = {
    "unreachable": "check the URL, and that uploadd runs there; the same command again goes on",
    "not-uploadd": "check the URL; a proxy in between must pass WebSocket upgrades on",
    "tls": "check the URL; SSL_CERT_FILE=... names the certificates to believe",
    "token": "export UPLOADD_TOKEN=..., then the same command again",
    "taken-over": "another put.py runs for the same file: let it",
    "pipe": "write it to a file first, then upload the file",
}
READ, CHUNK = 1 << 20, 64 << 10  # bytes; larger chunks gain little, and take long on a slow line
CONNECT, SILENT, FIRST_PATIENCE, PATIENCE = 10.0, 60.0, 5.0, 300.0  # seconds
WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
TABLES = [bytes(byte ^ key for byte in range(256)) for key in range(256)]


class Failed(Exception):
    """Why a file is not stored; with a *session* that was lost no other file would fare better."""

    def __init__(self, code: str, why: str, said: Any = (), session: bool = False) -> None:
        said = dict(said)
        super().__init__(said.get("message") or why)
        self.code, self.session, self.after = code, session, 0.0
        self.later = code in LATER or not said.get("final", True)
        self.status = 3 if session and self.later else STATUS.get(code, 5)
        self.hint = said.get("hint") or HINTS.get(code)


def mask(data: bytes, key: bytes) -> bytes:
    """*data* XOR *key*: four translations are twice as fast as one XOR of two large integers."""
    masked = bytearray(len(data))
    for place in range(4):
        masked[place::4] = data[place::4].translate(TABLES[key[place]])
    return masked


def say(line: str, end: str = "\n") -> None:
    """A line for people, in place of the progress, without what a terminal would obey."""
    sys.stderr.write("\r\x1b[K" if sys.stderr.isatty() else "")
    print(
        "".join(c if c.isprintable() else "?" for c in line), end=end, file=sys.stderr, flush=True
    )


class Source:
    """The bytes of a file; or of a pipe, which are kept until they are durable."""

    def __init__(self, path: str) -> None:
        self.file = open(0 if path == "-" else path, "rb", buffering=0)  # noqa: SIM115
        self.fileno, self.kept, self.base = self.file.fileno, bytearray(), 0
        self.pipe = path == "-" or not os.path.isfile(path)
        self.known, self.ended = self._known(), not self.pipe
        self.end = 0 if self.pipe else self.known[0]  # of what can be read now

    def _known(self) -> tuple[int, int]:
        status = os.fstat(self.fileno())
        return status.st_size, status.st_mtime_ns

    def fill(self) -> None:
        """Take what is in the pipe."""
        piece = self.file.read(READ)
        self.kept += piece
        self.end, self.ended = self.end + len(piece), not piece

    def read(self, at: int, count: int) -> bytes:
        """Bytes from *at* on, at most *count*."""
        if self.pipe:
            if at < self.base:
                raise Failed("pipe", "the server wants bytes again, and they come only once")
            return bytes(self.kept[at - self.base : at - self.base + count])
        self.file.seek(at)
        data = self.file.read(count)
        if self._known() != self.known or (count and not data):
            raise Failed("local", "it was written to while it was read: run it again, later")
        return data

    def release(self, offset: int) -> None:
        """What is below *offset* is durable."""
        del self.kept[: max(offset - self.base, 0)]
        self.base = max(offset, self.base)


class Session:
    """A session of uploadd.v1.  Its socket never blocks: acks are heard while chunks are sent."""

    def __init__(self, url: str) -> None:
        self.url, self.ref, self.limits = urlsplit(url), 0, {"max_chunk": 0}
        self._in, self._out, self._part, self._end = bytearray(), bytearray(), b"", ""
        self._until, self._restart = time.monotonic() + CONNECT, 0.0
        try:
            self._socket = self._connect()
        except (OSError, http.client.HTTPException) as error:
            code = "tls" if isinstance(error, ssl.SSLCertVerificationError) else "unreachable"
            why = getattr(error, "verify_message", None) or getattr(error, "strerror", None)
            why = f"cannot reach {self.url.netloc}: {why or error or type(error).__name__}"
            raise Failed(code, why, session=True) from None
        self._socket.setblocking(False)
        self._queue(0x81, b'{"type":"hello","client":"put.py"}')
        while "initial" not in self.limits:
            self.turn()

    def _connect(self) -> Any:
        """The socket, when the server agreed to WebSocket on it."""
        secure, token = self.url.scheme == "https", os.environ.get("UPLOADD_TOKEN")
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._http = kind(self.url.hostname or "", self.url.port, timeout=CONNECT)
        key = base64.b64encode(os.urandom(16)).decode()
        fields = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        fields.update({"Sec-WebSocket-Key": key, "Sec-WebSocket-Protocol": "uploadd.v1"})
        fields.update({"Authorization": f"Bearer {token}"} if token else {})
        self._http.request("GET", self.url.path.rstrip("/") + "/-/ws", headers=fields)
        answer = self._http.getresponse()
        proof = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        if answer.getheader("Sec-WebSocket-Accept") == base64.b64encode(proof).decode():
            return self._http.sock
        said = {}
        with suppress(ValueError, TypeError):  # it is not JSON, or no object
            said = dict(json.loads(answer.read(READ)))
        code = HTTP.get(answer.status) or said.get("code") or "not-uploadd"
        why = f"HTTP status {answer.status}, {answer.getheader('Location', 'not uploadd.v1')}"
        raise Failed(code, f"{self.url.geturl()}: {said.get('detail') or why}", said, session=True)

    def _queue(self, first: int, head: bytes, data: bytes = b"") -> None:
        """Send a frame; the length of *head* is a multiple of four if *data* follows."""
        key, count = os.urandom(4), len(head) + len(data)
        kind, width = (count, 0) if count < 126 else (126, 2) if count < 1 << 16 else (127, 8)
        start = bytes([first, 0x80 | kind]) + (count.to_bytes(width, "big") if width else b"")
        self._out += start + key + mask(head, key)
        self._out += mask(data, key)

    def turn(self, source: Source | None = None) -> list[dict[str, Any]]:
        """Send, receive and read what can be, within a second; what was said about the upload."""
        if self._end:
            error = Failed("unreachable", f"lost {self.url.netloc}: {self._end}", session=True)
            error.after = self._restart
            raise error
        reads = [self._socket, source] if source else [self._socket]
        ready = select.select(reads, [self._socket] if self._out else [], [], 1.0)
        if source and source in ready[0]:
            source.fill()
        try:
            while data := self._socket.recv(READ):
                self._in += data
                self._until = self._until if self._restart else time.monotonic() + SILENT
            self._end = "it closed the connection"
        except WAIT:
            self._end = "it is silent" if time.monotonic() > self._until else ""
        except OSError as error:
            self._end = str(error.strerror)
        messages = [message for message in iter(self._message, None) if self._concerns(message)]
        try:
            while self._out:
                del self._out[: self._socket.send(self._out)]
        except WAIT:
            pass
        except OSError:
            self._out.clear()  # receiving comes to why, which the server may have said before
        return messages

    def _message(self) -> dict[str, Any] | None:
        """The next whole message of what was received; pings and goodbyes are answered."""
        while len(self._in) > 1:
            count, at = self._in[1] & 127, 2
            if count > 125:  # 127 is for messages larger than any server says
                count, at = int.from_bytes(self._in[2:4], "big"), 4
            if len(self._in) < at + count:
                break
            first, payload = self._in[0], bytes(self._in[at : at + count])
            del self._in[: at + count]
            if first in (0x88, 0x89):
                self._queue(0x88 if first == 0x88 else 0x8A, payload)
                self._end = payload[2:].decode() or "it said goodbye" if first == 0x88 else ""
            self._part += payload if first & 15 < 2 else b""
            if first in (0x80, 0x81):
                text, self._part = self._part, b""
                return dict(json.loads(text))
        return None

    def _concerns(self, message: dict[str, Any]) -> bool:
        """Whether it is about the upload that runs; what is about the session is obeyed."""
        if message["type"] == "welcome":
            self.limits = message["limits"]
        elif message["type"] == "drain":
            self._restart = message["reconnect_after"] or 1e-3
            self._until = time.monotonic() + message["deadline"] + 5.0
            self._queue(0x81, b'{"type":"drained"}')
        elif message["type"] == "error" and message.get("ref") is None and message["final"]:
            raise Failed(message["code"], "", message, session=True)
        self.limits["max_chunk"] = message.get("max_chunk") or self.limits["max_chunk"]
        return message.get("ref") == self.ref

    def store(self, source: Source, begin: dict[str, Any], new: bool, show: Show) -> str:
        """Store *source*; its URL.  Of what is *new* bytes go at once, else from where it was."""
        self.ref, at, stored, last = self.ref + 1, 0, 0, False
        limit = self.limits["initial"] if new else -1
        self._queue(0x81, json.dumps({"type": "begin", "ref": self.ref, **begin}).encode())
        while True:
            count = min(CHUNK, self.limits["max_chunk"], source.end - at)
            count = min(count, limit - at) if at == stored < limit else count  # all we shall get
            free = not (self._out or self._restart or last) and at + count <= limit
            if free and (count or source.ended):
                data = source.read(at, count)
                last = source.ended and at + len(data) == source.end
                head = bytes([1, 2 * last, 0, 0]) + self.ref.to_bytes(4, "big")
                self._queue(0x82, head + at.to_bytes(8, "big"), data)
                at += len(data)
            show(at, stored, source.end)
            hungry = not source.ended and source.end - at < READ
            for said in self.turn(source if hungry else None):
                stored, limit = said.get("offset", stored), said.get("limit", limit)
                source.release(stored)
                if said["type"] == "ready" and not new:
                    at = stored
                elif said["type"] == "done" and said["length"] == source.end:
                    return urljoin(self.url.geturl(), said["url"])
                elif said["type"] == "done":
                    raise Failed(
                        "digest-mismatch", f"{said['length']} bytes of {source.end} arrived"
                    )
                elif said["type"] in ("error", "gone"):
                    code = said.get("code") or said["reason"]
                    raise Failed(code, f"the server has it no more: {code}", said)


class Put:
    """The files of one command, one after the other, over as many sessions as it takes."""

    def __init__(self, url: str, name: str | None) -> None:
        self.url, self.name, self.began = url, name, time.monotonic()
        self.session: Session | None = None
        self.patience, self.tries, self.since, self.stored, self.drawn = 5.0, 0, 0.0, 0, 0.0
        home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        self.folder = os.path.join(home, "uploadd", "put.py")

    def store(self, path: str) -> str:
        """Store the file at *path*; its URL.  The key is kept until that is done."""
        source = Source(path)
        name = self.name or ("stdin" if path == "-" else os.path.basename(path))
        known = repr((os.path.abspath(path), source.known, name, self.url)).encode()
        memory = os.path.join(self.folder, hashlib.sha256(known).hexdigest()[:32])
        key, new = "", False
        with suppress(OSError):
            key = "" if source.pipe else open(memory).read(32)
        begin = {"name": name, "length": None if source.pipe else source.end}
        while True:
            if len(key) < 22:
                key, new = os.urandom(16).hex(), True
                self.remember(memory, key)
            try:
                if self.session is None:
                    self.session, self.patience = Session(self.url), PATIENCE
                url = self.session.store(source, {**begin, "key": key}, new, self.show)
                break
            except Failed as error:
                self.session = None if error.session else self.session
                if error.code not in VANISHED or new or source.base:
                    self.pause(error)
                    new = False
                else:
                    key = ""
        with suppress(OSError):
            os.unlink(memory)
        return url

    def pause(self, error: Failed) -> None:
        """Wait before the next attempt; raises *error* when there is to be none."""
        self.since = self.since if self.tries else time.monotonic()
        if not error.later or time.monotonic() > self.since + self.patience:
            raise error
        seconds = error.after + random.random() * min(10.0, 0.2 * 2 ** min(self.tries, 9))
        self.tries += 1
        say(f"{error}; trying again in {seconds:.1f} s")
        time.sleep(seconds)

    def show(self, sent: int, stored: int, end: int) -> None:
        """How far it is, ten times a second on a terminal."""
        self.tries, self.stored = 0 if stored > self.stored else self.tries, stored
        if sys.stderr.isatty() and time.monotonic() > self.drawn + 0.1:
            self.drawn = time.monotonic()
            say(f"{stored / MIB:.1f} of {end / MIB:.1f} MiB stored, {sent}")


def main() -> int:
    """Run the command; its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("items", nargs="+", metavar="FILE... [URL]")
    parser.add_argument("--name", help="store the one file under this name")
    options = parser.parse_intermixed_args()
    files, codes = options.items, []
    url = files.pop() if "://" in files[-1] else os.environ.get("UPLOADD_URL", "")
    piped = sys.argv[0] == "-"
    me = f"curl -s {url.rstrip('/')}/-/put.py | python3 -" if piped else "python3 put.py"
    if not files or not url:
        parser.error(f"which {'server' if files else 'files'}?  {me} FILE... http://host:8080")
    ...
    put = Put(url, options.name)
    try:
        for done, path in enumerate(files):
            try:
                print(put.store(path), flush=True)
                codes.append(0)
            except (Failed, OSError) as error:
                ...
    except KeyboardInterrupt:
        ...
        return 130
    return codes[0] if len(set(codes)) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
