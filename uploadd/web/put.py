"""Upload files to an uploadd server, from a host that has Python 3.9 and nothing else.

  curl -O http://host:8080/-/put.py && python3 put.py FILE... http://host:8080
  curl -s http://host:8080/-/put.py | python3 - FILE... http://host:8080

The same command again goes on where it was. - is standard input, $UPLOADD_TOKEN the token. Exit
status: 0 stored, 1 some failed, 2 usage, 3 unreachable, 4 token, 5 rejected, 6 file, 7 mismatch.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import http.client
import json
import os
import re
import select
import shlex
import ssl
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
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
HTTP = {401: "token", **dict.fromkeys((408, 423, 425, 429, 500, 502, 503, 504), "unreachable")}
HINTS = {
    "unreachable": "check the URL, and that uploadd runs there; the same command again goes on",
    "not-uploadd": "check the URL; a proxy in between must pass WebSocket upgrades on",
    "tls": "check the URL; SSL_CERT_FILE=... names the certificates to believe",
    "token": "export UPLOADD_TOKEN=..., then the same command again",
    "taken-over": "another put.py runs for the same file: let it",
}
FIELD = "Authorization: Bearer <token>"
MIB, CHUNK = 1 << 20, 64 << 10  # larger chunks gain little, and take long on a slow line
CONNECT, SILENT, FIRST_PATIENCE, PATIENCE = 10.0, 60.0, 5.0, 300.0  # seconds
WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
TABLES = [bytes(byte ^ key for byte in range(256)) for key in range(256)]


class Failed(Exception):
    """Why a file is not stored; with a *session* that was lost no other file would fare better."""

    def __init__(self, code: str, why: str, said: Any = (), session: bool = False) -> None:
        said = dict(said)
        super().__init__(said.get("message") or why)
        self.session, self.after = session, float(said.get("reconnect_after", 0))
        self.later = code in LATER or not said.get("final", True)
        self.status = 3 if session and self.later else STATUS.get(code, 5)
        self.hint = said.get("hint") or HINTS.get(code)
        if self.hint:  # the server's says what HTTP has, not what is typed for it
            self.hint = self.hint.replace(FIELD, "export UPLOADD_TOKEN=...")


def say(line: str, end: str = "\n") -> None:
    """A line for people, in place of the progress, without what a terminal would obey."""
    line = "".join(c if c.isprintable() or c == "\n" else "?" for c in line)
    sys.stderr.write("\r\x1b[K" * sys.stderr.isatty() + line + end)
    sys.stderr.flush()


class Source:
    """The bytes of a file; or of a pipe, which are kept until they are durable."""

    def __init__(self, path: str) -> None:
        self.file = open(0 if path == "-" else path, "rb", buffering=0)  # noqa: SIM115
        self.fileno, self.kept, self.base = self.file.fileno, bytearray(), 0
        self.pipe = path == "-" or not os.path.isfile(path)
        status, self.ended = os.fstat(self.fileno()), not self.pipe
        self.known = status.st_size, status.st_mtime_ns
        self.end = 0 if self.pipe else status.st_size  # of what can be read now

    def fill(self) -> None:
        """Take what is in the pipe."""
        piece = self.file.read(MIB)
        self.kept += piece
        self.end, self.ended = self.end + len(piece), not piece

    def read(self, at: int, count: int, stored: int) -> bytes:
        """Bytes from *at* on, at most *count*; nothing below *stored* is wanted again."""
        if not self.pipe:
            self.file.seek(at)
            data = self.file.read(count)
            if os.fstat(self.fileno()).st_mtime_ns != self.known[1] or (count and not data):
                raise Failed("local", "it was written to while it was read: run it again, later")
            return data
        if at < self.base:
            raise Failed("pipe", "the server wants bytes again, and they come only once")
        del self.kept[: max(stored - self.base, 0)]
        self.base = max(stored, self.base)
        return bytes(self.kept[at - self.base : at - self.base + count])


class Session:
    """A session of uploadd.v1.  Its socket never blocks: acks are heard while chunks are sent."""

    def __init__(self, url: str) -> None:
        self.url, self.ref, self.limits = urlsplit(url), 0, {"max_chunk": 0}
        self._in, self._out, self._part, self._end = bytearray(), bytearray(), b"", ""
        self._until, self._drain = time.monotonic() + CONNECT, dict[str, Any]()
        try:
            self._socket = self._connect()
        except (OSError, ValueError, http.client.HTTPException) as error:
            code = "tls" if isinstance(error, ssl.SSLCertVerificationError) else "unreachable"
            why = getattr(error, "verify_message", None) or getattr(error, "strerror", None)
            why = f"cannot reach {self.url.netloc}: {why or repr(error)}"
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
            said = dict(json.loads(answer.read(MIB)))
        code = HTTP.get(answer.status) or said.get("code") or "not-uploadd"
        why = f"HTTP status {answer.status}, {answer.getheader('Location', 'not uploadd.v1')}"
        raise Failed(code, f"{self.url.geturl()}: {said.get('detail') or why}", said, session=True)

    def _queue(self, first: int, payload: bytes) -> None:
        """Send a frame, masked: four translations are twice as fast as one XOR of large ints."""
        key, count, frame = os.urandom(4), len(payload), bytearray(payload)
        kind, width = (count, 0) if count < 126 else (126, 2) if count < 1 << 16 else (127, 8)
        self._out += bytes([first, 0x80 | kind]) + count.to_bytes(8, "big")[8 - width :] + key
        for place in range(4):
            frame[place::4] = frame[place::4].translate(TABLES[key[place]])
        self._out += frame

    def turn(self, source: Source | None = None) -> list[dict[str, Any]]:
        """Send, receive and read what can be, within a second; what was said about the upload."""
        if self._end:
            raise Failed("unreachable", self._end, self._drain, session=True)
        reads = [self._socket, source] if source else [self._socket]
        ready = select.select(reads, [self._socket] if self._out else [], [], 1.0)
        if source and source in ready[0]:
            source.fill()
        try:
            while data := self._socket.recv(MIB):
                self._in += data
                self._until = self._until if self._drain else time.monotonic() + SILENT
            self._end = "the server closed the connection"
        except WAIT:
            self._end = "the server is silent" if time.monotonic() > self._until else ""
        except OSError as error:
            self._end = f"the connection was lost: {error.strerror}"
        concerns = [message for message in iter(self._message, None) if self._obey(message)]
        try:
            while self._out:
                del self._out[: self._socket.send(self._out)]
        except WAIT:
            pass
        except OSError:
            self._out.clear()  # receiving comes to why, which the server may have said before
        return concerns

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
            if first == 0x89:
                self._queue(0x8A, payload)
            elif first == 0x88:
                self._queue(0x88, payload[:2])
                self._end = f"the server closed: {payload[2:].decode() or payload.hex()}"
            elif first & 15 < 2:
                self._part += payload
            if first in (0x80, 0x81):
                text, self._part = self._part, b""
                return dict(json.loads(text))
        return None

    def _obey(self, message: dict[str, Any]) -> bool:
        """Do what is said about the session; whether it is about the upload that runs."""
        if message["type"] == "welcome":
            self.limits = message["limits"]
        elif message["type"] == "drain":
            self._drain = {**message, "message": "the server restarts"}
            self._until = time.monotonic() + message["deadline"] + 5.0
            self._queue(0x81, b'{"type":"drained"}')
        elif message["type"] == "error" and message.get("ref") is None and message["final"]:
            raise Failed(message["code"], "", message, session=True)
        self.limits["max_chunk"] = message.get("max_chunk") or self.limits["max_chunk"]
        return message.get("ref") == self.ref

    def store(self, source: Source, begin: dict[str, Any], new: bool, show: Any) -> str:
        """Store *source*; its URL.  Of what is *new* bytes go at once, else from where it was."""
        self.ref, at, stored, last = self.ref + 1, 0, 0, False
        limit = self.limits["initial"] if new else -1
        text = json.dumps({"type": "begin", "ref": self.ref, **begin}, ensure_ascii=False)
        self._queue(0x81, text.encode("utf-8", "replace"))
        while True:
            count = min(CHUNK, self.limits["max_chunk"], source.end - at)
            count = min(count, limit - at) if at == stored < limit else count  # all we shall get
            free = not (self._out or self._drain or last) and at + count <= limit
            if free and (count or source.ended):
                data = source.read(at, count, stored)
                last = source.ended and at + len(data) == source.end
                head = bytes([1, 2 * last, 0, 0]) + self.ref.to_bytes(4, "big")
                self._queue(0x82, head + at.to_bytes(8, "big") + data)
                at += len(data)
            show(at, stored, source.end)
            hungry = not source.ended and source.end - at < MIB
            for said in self.turn(source if hungry else None):
                stored, limit = said.get("offset", stored), said.get("limit", limit)
                if said["type"] == "ready" and not new:
                    at = stored
                elif said["type"] == "done" and said["length"] == source.end:
                    return urljoin(self.url.geturl(), str(said["url"]))
                elif said["type"] in ("done", "error", "gone"):
                    code = said.get("code") or said.get("reason") or "digest-mismatch"
                    raise Failed(code, f"{code}: it is not stored as it was sent", said)


class Put:
    """The files of one command, one after the other, over as many sessions as it takes."""

    def __init__(self, url: str, name: str | None) -> None:
        self.url, self.name, self.patience = url, name, FIRST_PATIENCE
        self.session: Session | None = None
        self.tries, self.since, self.stored, self.drawn = 0, 0.0, 0, 0.0
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        self.folder = Path(home, "uploadd", "put.py")

    def store(self, path: str) -> str:
        """Store the file at *path*; its URL.  Its key is remembered until then."""
        source = Source(path)
        name = self.name or ("stdin" if path == "-" else os.path.basename(path))
        known = ascii((os.path.abspath(path), source.known, name, self.url)).encode()
        memory, key = self.folder / hashlib.sha256(known).hexdigest()[:32], ""
        with suppress(OSError):
            key = memory.read_text()
        new = source.pipe or len(key) != 32
        key = os.urandom(16).hex() if new else key
        with suppress(OSError):  # where nothing may be written an interrupted one starts anew
            self.folder.mkdir(0o700, parents=True, exist_ok=True)
            memory.write_text(key)
        begin = {"name": name, "length": None if source.pipe else source.end, "key": key}
        self.stored = 0
        while True:
            try:
                session = self.session = self.session or Session(self.url)
                self.patience = PATIENCE
                url = session.store(source, begin, new, self.show)
                break
            except Failed as error:
                self.session, new = None if error.session else self.session, False
                self.pause(error)
        with suppress(OSError):
            memory.unlink()
        return url

    def pause(self, error: Failed) -> None:
        """Wait before the next attempt; raises *error* when there is to be none."""
        self.since = self.since if self.tries else time.monotonic()
        if not error.later or time.monotonic() > self.since + self.patience:
            raise error
        seconds = error.after + os.urandom(1)[0] / 255 * min(10.0, 0.2 * 2 ** min(self.tries, 9))
        self.tries += 1
        say(f"{error}; trying again {'now' if seconds < 0.1 else f'in {seconds:.1f} s'}")
        time.sleep(seconds)

    def show(self, sent: int, stored: int, end: int) -> None:
        """How far it is, ten times a second on a terminal."""
        if stored > self.stored:
            self.tries, self.stored = 0, stored
        if sys.stderr.isatty() and time.monotonic() > self.drawn + 0.1:
            self.drawn = time.monotonic()
            say(f"{stored / MIB:.1f} MiB +{(sent - stored) / MIB:.1f} of {end / MIB:.1f} MiB", "")


def main() -> int:
    """Run the command; its exit status."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE... [URL]")
    parser.add_argument("--name", help="store the one file under this name")
    options = parser.parse_intermixed_args()
    files, codes = options.files, []
    url = files.pop() if "://" in files[-1] else os.environ.get("UPLOADD_URL", "")
    if not files or not re.fullmatch(r"https?://(\[[^]]+\]|[^/:]+)(:\d{1,5})?(/[!-~]*)?", url):
        parser.error("FILE... and then the server: http://host:8080 or https://host")
    if (options.name and len(files) > 1) or (sys.argv[0] == "-" and "-" in files):
        parser.error("--name is for one file, and - for a put.py that is a file itself")
    put = Put(url, options.name)
    try:
        for path in files:
            try:
                url_of = put.store(path)
                say("", end="")
                sys.stdout.write(f"{url_of}\n")
                sys.stdout.flush()
                codes.append(0)
            except OSError as error:
                codes.append(6)
                say(f"{path}: cannot read it: {error.strerror}")
            except Failed as error:
                codes.append(error.status)
                say(f"{path}: {error}\n→ {error.hint}" if error.hint else f"{path}: {error}")
                if error.session:
                    break
    except KeyboardInterrupt:
        kept = "; what was sent is kept" * bool(put.stored)
        say(f"interrupted: {codes.count(0)} of {len(files)} stored{kept}")
        again = ["--name", options.name] * bool(options.name) + files[len(codes) :] + [url]
        fetch = f"curl -s {url.rstrip('/')}/-/put.py | " if sys.argv[0] == "-" else ""
        say(f"→ {fetch}{shlex.join(['python3', sys.argv[0], *again])}")
        return 130
    return codes[0] if len(set(codes)) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
