"""The gate on the raw bytes of every HTTP head, before a parser sees it (RFC 9112).

A head is judged line by line, in the order of its bytes, and a line only when it is whole: the
answer does not depend on how the bytes were cut into segments.  The gate is stricter than the
RFC where two readers could differ: ASCII everywhere, CRLF only, no folding, one ``Host``, one
``Content-Length`` and never beside ``Transfer-Encoding``.  Two empty lines before a request are
forgiven (section 2.2), because old clients send one behind a body.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from uploadd.errors import BadRequest, HeadTooLarge, NotImplementedHere, UploadError

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MAX_HEAD: Final = 16 * 1024  # bytes from the method to the empty line, both included
MAX_FIELDS: Final = 100
MAX_EMPTY_LINES: Final = 2

TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_AUTHORITY: Final = re.compile(r"([A-Za-z0-9._~-]*|\[[0-9A-Fa-f:.]+\])(?::([0-9]{0,5}))?")
_ABSOLUTE: Final = re.compile(r"(?i:https?)://([^/?]+)(.*)")
_REQUEST_LINE: Final = re.compile(rb"([!-~]+) ([!-~]+) (HTTP/[0-9]\.[0-9])")
_FIELD_LINE: Final = re.compile(rb"(" + TOKEN.pattern + rb"):([\t -~]*)")
_ORIGIN: Final = re.compile(rb"\n(?i:origin):[ \t]*([!-~]+)[ \t]*\r\n")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Head:
    """One request head: its bytes, and what the gate had to understand of them.

    Fields are not in the repr: they carry tokens and cookies.
    """

    raw: bytes = field(repr=False)
    method: str
    target: str
    """In origin form (``/path?query``), or ``*``; an absolute form is reduced to this."""
    version: str
    """``1.0`` or ``1.1``."""
    authority: str
    """Whom the client thinks it talks to: of an absolute target, else ``Host``; or empty."""
    fields: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    """Names in lower case, values without the white space around them."""
    length: int | None
    """``Content-Length`` in bytes."""
    chunked: bool
    """Whether a chunked body follows."""
    secure: bool = False
    """Whether it came over TLS that ends here."""
    _named: dict[bytes, list[bytes]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        named: dict[bytes, list[bytes]] = {}  # a head is asked for fields dozens of times
        for name, value in self.fields:
            named.setdefault(name, []).append(value)
        object.__setattr__(self, "_named", named)

    def values(self, name: bytes) -> list[bytes]:
        """The value of every field *name* (lower case), in order."""
        return self._named.get(name, [])

    def get(self, name: bytes) -> bytes | None:
        """The value of the field *name*, None without; raises BadRequest if it comes twice."""
        values = self._named.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise BadRequest(f"more than one {name.decode('ascii')} field")
        return values[0]

    def items(self, name: bytes) -> list[bytes]:
        """The members of the comma-separated list *name*, over all its fields."""
        values = self._named.get(name)
        if values is None:
            return []
        parts = (part.strip(b" \t") for part in b",".join(values).split(b","))
        return [part for part in parts if part]


class _RequestLine(NamedTuple):
    method: str
    target: str
    version: str
    authority: str | None


class HeadGate:
    """Holds the unread bytes of one connection and cuts out one head at a time.

    After an error nothing more can be read from the connection: the same error comes again.
    """

    __slots__ = (
        "_buffer",
        "_empty",
        "_error",
        "_fields",
        "_line",
        "_request",
        "_scanned",
        "_secure",
    )

    def __init__(self, *, secure: bool = False) -> None:
        self._secure = secure
        self._buffer = bytearray()
        self._error: UploadError | None = None
        self._restart()

    def _restart(self) -> None:
        self._line = self._scanned = 0  # where this line begins; how far there is no LF
        self._empty = 0
        self._request: _RequestLine | None = None
        self._fields: list[tuple[bytes, bytes]] = []

    @property
    def unread(self) -> int:
        """How many bytes are held: of a head that is not whole, a body, or the next request."""
        return len(self._buffer)

    @property
    def origins(self) -> tuple[tuple[bytes, bytes], ...]:
        """The ``Origin`` fields of a head that was refused: its page should see why."""
        return tuple((b"origin", value) for value in _ORIGIN.findall(self._buffer[:MAX_HEAD]))

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Add what was read from the connection, or what a body's parser left over."""
        self._buffer += data

    def take(self, limit: int | None = None) -> bytes:
        """Up to *limit* of the unread bytes, all without one; only between two heads."""
        assert self._request is None
        taken = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        self._restart()
        return taken

    def next(self) -> Head | None:
        """The next head, None while it is not whole.

        Raises BadRequest, HeadTooLarge or NotImplementedHere.
        """
        if self._error is not None:
            raise self._error
        try:
            return self._advance()
        except UploadError as error:
            self._error = error
            raise

    def _advance(self) -> Head | None:
        while (line := self._next_line()) is not None:
            if self._request is not None:
                if not line:
                    return self._finish(self._request)
                if len(self._fields) == MAX_FIELDS:
                    raise HeadTooLarge(f"more than {MAX_FIELDS} header fields")
                self._fields.append(field_of(line))
            elif line:
                self._request = _request_line(line)
            else:
                self._skip_empty_line()
        return None

    def _next_line(self) -> bytes | None:
        """The next line without its end, None while it is not whole."""
        buffer, start = self._buffer, self._line
        if not start and buffer and not 0x20 < buffer[0] < 0x7F and buffer[0] not in b"\r\n":
            tls = buffer[0] == 0x16
            raise BadRequest("TLS on a port that speaks HTTP" if tls else "this is not HTTP")
        end = buffer.find(b"\n", self._scanned, MAX_HEAD)
        if end < 0:
            if len(buffer) >= MAX_HEAD:
                raise HeadTooLarge(f"a head of more than {MAX_HEAD} bytes")
            self._scanned = len(buffer)
            return None
        if end == start or buffer[end - 1] != 0x0D:
            raise BadRequest("a line ends with LF alone, not with CRLF")
        self._line = self._scanned = end + 1
        return bytes(buffer[start : end - 1])

    def _skip_empty_line(self) -> None:
        empty = self._empty + 1
        if empty > MAX_EMPTY_LINES:
            raise BadRequest("empty lines where a request should begin")
        del self._buffer[:2]
        self._restart()
        self._empty = empty

    def _finish(self, request: _RequestLine) -> Head:
        fields = tuple(self._fields)
        host = _host(fields, request.version)
        length, chunked = _framing(fields, request.version)
        raw = bytes(self._buffer[: self._line])
        del self._buffer[: self._line]
        self._restart()
        return Head(
            raw=raw,
            method=request.method,
            target=request.target,
            version=request.version,
            authority=host if request.authority is None else request.authority,
            fields=fields,
            length=length,
            chunked=chunked,
            secure=self._secure,
        )


def _request_line(line: bytes) -> _RequestLine:
    """Method, target and version (RFC 9112, section 3)."""
    if line == b"PRI * HTTP/2.0":
        raise NotImplementedHere("HTTP/2 with prior knowledge; this port speaks HTTP/1.1")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise BadRequest("the request line is not 'method target HTTP/1.1', in visible ASCII")
    method, target, protocol = (part.decode("ascii") for part in match.groups())
    version = protocol.removeprefix("HTTP/")
    if version not in ("1.0", "1.1"):
        raise NotImplementedHere(f"{protocol}; this port speaks HTTP/1.1 and HTTP/1.0")
    if method not in METHODS:
        raise NotImplementedHere(f"method {method[:20]}; known are {', '.join(METHODS)}")
    path, authority = _target(method, target)
    return _RequestLine(method, path, version, authority)


def _target(method: str, target: str) -> tuple[str, str | None]:
    """Path and query, and the authority that an absolute target names (section 3.2)."""
    if "#" in target:
        raise BadRequest("a request target has no fragment (#)")
    if target.startswith("/") or (target == "*" and method == "OPTIONS"):
        return target, None
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not _AUTHORITY.fullmatch(match[1]):
        raise BadRequest("the request target is neither a path nor an http URL")
    path = match[2]
    return (path if path.startswith("/") else "/" + path), match[1]


def field_of(line: bytes) -> tuple[bytes, bytes]:
    """Name and value (section 5) of a line that is not empty.  Raises BadRequest."""
    match = _FIELD_LINE.fullmatch(line)
    if match is None:
        raise BadRequest(_fault(line))
    return match[1].lower(), match[2].strip(b" \t")


def _fault(line: bytes) -> str:
    """What is wrong with a field line."""
    name, colon, value = line.partition(b":")
    if line[0] in b" \t":
        return "a folded header field"
    if not colon:
        return "a header line without a colon"
    if name.endswith((b" ", b"\t")):
        return "white space between a field name and its colon"
    if not TOKEN.fullmatch(name):
        return "a field name that is not a token"
    what = "something that is not ASCII" if not value.isascii() else "a control character"
    return f"{what} in the field {name[:40].decode('ascii')}"


def _host(fields: tuple[tuple[bytes, bytes], ...], version: str) -> str:
    """The value of ``Host`` (RFC 9110, 7.2); empty where HTTP/1.0 may leave it out."""
    hosts = [value.decode("ascii") for name, value in fields if name == b"host"]
    if len(hosts) > 1:
        raise BadRequest("more than one Host field")
    if not hosts and version == "1.1":
        raise BadRequest("HTTP/1.1 without a Host field")
    host = hosts[0] if hosts else ""
    if not _AUTHORITY.fullmatch(host):
        raise BadRequest("a Host that is not host[:port]")
    return host


def _framing(fields: tuple[tuple[bytes, bytes], ...], version: str) -> tuple[int | None, bool]:
    """Content-Length, and whether the body is chunked (section 6); at most one of both."""
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if len(lengths) > 1 or len(codings) > 1:
        raise BadRequest("Content-Length or Transfer-Encoding more than once")
    if lengths and codings:
        raise BadRequest("Content-Length and Transfer-Encoding together")
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        raise BadRequest("a Content-Length that is not 1 to 18 digits")
    if codings and version == "1.0":
        raise BadRequest("Transfer-Encoding in HTTP/1.0")
    if codings and codings[0].lower() != b"chunked":
        raise NotImplementedHere("a Transfer-Encoding other than chunked")
    return (int(lengths[0]) if lengths else None), bool(codings)
