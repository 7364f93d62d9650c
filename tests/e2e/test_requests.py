"""What no client of ours would say, to the real daemon: each is refused by its code, and is over.

A second request always lies behind the first, in the same segment.  Where it cannot be told where
the first one ends, nobody may answer it.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import Final

import pytest

from tests import wire
from tests.e2e.daemon import Daemon
from tests.e2e.rights import CHUNK, TUS, Asker

HOST: Final = b"localhost"
SECOND: Final = wire.head(b"Connection: close", target=b"/-/info", host=HOST)
MOST: Final = 1_000_000_000


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One for all of them: whatever they leave adds up."""
    folder = tmp_path_factory.mktemp("requests")
    with Daemon(folder, "--set", f"limits.max_length={MOST} B") as daemon:
        daemon.start()
        yield daemon
        assert "Traceback" not in daemon.log, daemon.log
        assert daemon.terminate() == 0


@pytest.fixture
def nobody(daemon: Daemon) -> Asker:
    """Whoever."""
    return Asker(daemon, None)


def heard(daemon: Daemon, said: bytes, pieces: int = 1) -> list[int]:
    """The statuses of all that is answered to *said*, in so many segments, until it is over."""
    told = b""
    with closing(socket.create_connection(daemon.address, timeout=60)) as peer, suppress(OSError):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        step = -(-len(said) // pieces)
        with suppress(OSError):
            for at in range(0, len(said), step):
                peer.sendall(said[at : at + step])
            peer.shutdown(socket.SHUT_WR)
        while more := peer.recv(65536):
            told += more
    return [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d+) ", told, re.MULTILINE)]


def put(*lines: bytes, version: bytes = b"HTTP/1.1", host: bytes = HOST) -> bytes:
    """The head of a PUT."""
    made = wire.head(*lines, method=b"PUT", target=b"/smuggled", host=host)
    return made.replace(b"HTTP/1.1", version, 1)


CHUNKED: Final = b"Transfer-Encoding: chunked"
BODY: Final = b"5\r\nhello\r\n0\r\n\r\n"
SMUGGLED: Final = {
    "both framings": put(b"Content-Length: 5", CHUNKED) + BODY,
    "two lengths": put(b"Content-Length: 5", b"Content-Length: 6") + b"hello",
    "one length twice": put(b"Content-Length: 5", b"Content-Length: 5") + b"hello",
    **{
        f"length {length!r}": put(b"Content-Length: " + length) + b"hello"
        for length in (b"+5", b"0x5", b"5_0", b"-1", b"5,5", b"1e1", b"9" * 21, b"")
    },
    "blank before colon": put(b"Content-Length : 5") + b"hello",
    **{
        f"coding {coding!r}": put(b"Transfer-Encoding: " + coding) + BODY
        for coding in (b"xchunked", b"gzip, chunked", b"chunked, identity", b"\x0bchunked")
    },
    "two codings": put(CHUNKED, b"Transfer-Encoding: identity") + BODY,
    "chunks in HTTP/1.0": put(CHUNKED, version=b"HTTP/1.0") + BODY,
    "bare line feeds": put(b"Content-Length: 5").replace(b"\r\n", b"\n") + b"hello",
    "a folded line": put(b"Content-Length: 5", b"A: b\r\n c") + b"hello",
    "NUL": put(b"Content-Length: 5", b"A: b\0c") + b"hello",
    "bare carriage return": put(b"Content-Length: 5", b"A: b\rC: d") + b"hello",
    "another version": put(b"Content-Length: 5", version=b"HTTP/1.9") + b"hello",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two hosts": put(b"Content-Length: 5", b"Host: localhost") + b"hello",
    "no host": put(b"Content-Length: 5", host=b"") + b"hello",
    "no end of a chunk": put(CHUNKED) + b"3\r\nabcXX0\r\n\r\n",
    "a hexadecimal size": put(CHUNKED) + b"0x3\r\nabc\r\n0\r\n\r\n",
    "a negative size": put(CHUNKED) + b"-3\r\nabc\r\n0\r\n\r\n",
    "bare return in an extension": put(CHUNKED) + b"3;a\rb\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("said", SMUGGLED.values(), ids=SMUGGLED)
def test_what_can_be_read_in_two_ways_is_answered_once_and_stores_nothing(
    daemon: Daemon, said: bytes
) -> None:
    """400, or that it is not spoken here; the request behind it is nobody's."""
    [status] = heard(daemon, said + SECOND)
    assert status in (400, 501, 505)
    assert [path.name for path in daemon.folder.iterdir()] == [".uploadd"]


MANY: Final = {
    "20 000 fields": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a:b\r\n" * 20_000 + b"\r\n",
    "one of 17 KiB": wire.head(b"A: " + b"b" * (17 << 10), host=HOST),
    "a line without end": b"GET /" + b"x" * 100_000,
}


@pytest.mark.parametrize("said", MANY.values(), ids=MANY)
def test_a_head_is_too_large_however_it_comes(daemon: Daemon, said: bytes) -> None:
    """In one segment, in two, or in many small ones."""
    assert [heard(daemon, said + SECOND, pieces) for pieces in (1, 2, 2000)] == [[431]] * 3


def test_chunks_that_are_nothing_but_framing_end(daemon: Daemon) -> None:
    """A byte for each 15 KiB of extension is no body."""
    said = put(CHUNKED) + (b"1;" + b"e" * (15 << 10) + b"\r\nx\r\n") * 100 + b"0\r\n\r\n"
    [status] = heard(daemon, said + SECOND)
    assert status in (400, 431)
    assert not (daemon.folder / "smuggled").exists()


def test_answers_come_in_the_order_of_the_requests(daemon: Daemon, nobody: Asker) -> None:
    """Also behind one that is refused, and where the body of that comes all the same."""
    missing = wire.head(target=b"/f/" + b"x" * 24, host=HOST)
    refused = wire.head(b"Content-Length: 5", method=b"POST", target=b"/-/info", host=HOST)
    assert heard(daemon, missing + refused + b"hello" + SECOND) == [404, 405, 200]


# --- lengths and offsets --------------------------------------------------------------------------

NUMBERS: Final = (
    *("-1", "+5", "1e3", "0x10", "٣", "5,5", "", "5" * 5000, str(10**30), str(2**63)),
    *(str(2**63 - 1), "5.0", "five"),
)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:8])
def test_a_number_is_digits_and_nothing_else(daemon: Daemon, nobody: Asker, number: str) -> None:
    """413 where it is one and too large.  In tus nothing is created; a structured field that is
    malformed is none, so in the IETF's words the length is not known.
    """
    text = number.encode()
    before = listed(nobody)
    lines = (b"Tus-Resumable: 1.0.0", b"Content-Length: 0", b"Upload-Length: " + text)
    tus = wire.head(*lines, method=b"POST", target=b"/files/", host=HOST)
    status = heard(daemon, tus + SECOND)[0]
    assert status in ((400, 413) if number.isdecimal() else (400,))
    assert listed(nobody) == before
    ietf = tus.replace(b"Tus-Resumable: 1.0.0", b"Upload-Draft-Interop-Version: 8")
    ietf = ietf.replace(b"Content-Length: 0", b"Content-Length: 0\r\nUpload-Complete: ?0")
    heard(daemon, ietf + SECOND)
    assert all(one.get("length") is None for one in listed(nobody) if one not in before)
    path = nobody.begun().encode()
    lines = (b"Tus-Resumable: 1.0.0", b"Content-Length: 1", b"Upload-Offset: " + text)
    lines += (b"Content-Type: application/offset+octet-stream",)
    patch = wire.head(*lines, method=b"PATCH", target=path, host=HOST) + b"x"
    assert heard(daemon, patch + SECOND)[0] in ((400, 409) if number.isdecimal() else (400,))
    assert nobody.ask("HEAD", path.decode(), TUS).getheader("Upload-Offset") == "0"


def listed(a: Asker) -> list[dict[str, object]]:
    """All uploads that are not complete."""
    return json.loads(a.ask("GET", "/api/uploads?state=receiving").said)["uploads"]  # type: ignore[attr-defined]


def test_of_more_than_was_announced_only_that_is_taken(daemon: Daemon, nobody: Asker) -> None:
    """Fifty bytes where ten belong; in chunks, so that nobody knows before."""
    created = nobody.ask("POST", "/files/", TUS | {"Upload-Length": "10"})
    path = (created.getheader("Location") or "").encode()
    lines = [f"{name}: {value}".encode() for name, value in CHUNK.items()]
    patch = wire.head(*lines, b"Upload-Offset: 0", CHUNKED, method=b"PATCH", target=path, host=HOST)
    assert heard(daemon, patch + b"32\r\n" + b"x" * 50 + b"\r\n0\r\n\r\n" + SECOND)[0] == 413
    assert nobody.ask("HEAD", path.decode(), TUS).getheader("Upload-Offset") == "10"
    beyond = CHUNK | {"Upload-Offset": "11"}
    assert nobody.status("PATCH", path.decode(), beyond, b"x") == "409"


def test_nothing_at_all_is_a_whole_file(nobody: Asker) -> None:
    """As soon as it is declared to be all."""
    created = nobody.ask("POST", "/files/", TUS | {"Upload-Length": "0"})
    id = (created.getheader("Location") or "").rpartition("/")[2]
    assert nobody.ask("GET", f"/f/{id}").said == b""  # type: ignore[attr-defined]


# --- names and what is said of files --------------------------------------------------------------


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


METADATA: Final = {
    "too long a value": (f"a {encoded(bytes(4097))}", 400),
    "too many keys": (",".join(f"k{number} YQ==" for number in range(101)), 400),
    "a key twice": ("a YQ==,a Yg==", 400),
    "no base64": ("a !!!!", 400),
    "no text": (f"a {encoded(bytes(range(128, 256)))}", 201),
    "a name of JavaScript": ("__proto__ YQ==,constructor YQ==", 201),
    "as long as it may be": (f"a {encoded(b'x' * 4096)}", 201),
}


@pytest.mark.parametrize(("said", "status"), METADATA.values(), ids=METADATA)
def test_metadata_is_kept_as_it_was_said_or_refused(nobody: Asker, said: str, status: int) -> None:
    """And never half of it."""
    fields = TUS | {"Upload-Length": "2", "Upload-Metadata": said}
    created = nobody.ask("POST", "/files/", fields)
    assert created.status == status
    if status == 201:
        told = nobody.ask("HEAD", created.getheader("Location") or "", TUS)
        assert told.getheader("Upload-Metadata") == said


NAMES: Final = (
    *(
        "x" * 255,
        "x" * 256 + ".txt",
        "🎬" * 64,
        "dot.",
        "blank ",
        "CON",
        "...",
        "a\nb",
        "a\r\nB: c",
    ),
    *("e\u0301.txt", "\u00e9.txt", "a\"; filename*=UTF-8''evil.html; x=\"", "\u202egnp.exe", "\0"),
    *("../../escaped", "-rf", "~", ""),
)


CLEAN: Final = re.compile(
    r"(?:attachment|inline); filename=\"[ !#-\[\]-~]+\""
    r"(?:; filename\*=UTF-8''(?:%[0-9A-F]{2}|[-\w.!#$&+^`|~])+)?",
    re.ASCII,
)
"""One name for old clients, in quotes that nothing in it can end, and one for the others."""


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:12])
def test_any_name_is_one_clean_line_and_one_file(daemon: Daemon, nobody: Asker, name: str) -> None:
    """It is told again as it was said; on the disk and to browsers it is a safe one."""
    before = set(daemon.folder.rglob("*"))
    said = f"filename {encoded(name.encode())}".rstrip()
    fields = CHUNK | {"Upload-Length": "1", "Upload-Metadata": said}
    created = nobody.ask("POST", "/files/", fields, b"x")
    assert created.status == 201
    path = created.getheader("Location") or ""
    assert nobody.ask("HEAD", path, TUS).getheader("Upload-Metadata") == said
    [new] = [one for one in set(daemon.folder.rglob("*")) - before if ".uploadd" not in str(one)]
    assert new.read_bytes() == b"x"
    assert new.parent == daemon.folder
    had = nobody.ask("GET", f"/f/{path.rpartition('/')[2]}")
    assert had.status == 200
    [line] = had.headers.get_all("Content-Disposition") or []
    assert CLEAN.fullmatch(line), line
    assert had.getheader("B") is None
    assert "%E2%80%AE" not in line


IDS: Final = (
    *("..%2f..%2fetc%2fpasswd", "%2e%2e%2f", "..%5c", "%252e", "a/b", "%00", ".", "", "x" * 4096),
    *("../../etc/passwd", "-" * 21, "x" * 65, "%0d%0aX: y"),
)


@pytest.mark.parametrize("id", IDS, ids=lambda id: id[:12])
def test_what_is_no_id_is_nobodys(daemon: Daemon, id: str) -> None:
    """On every path that has one; nothing is looked for."""
    for method, start in ((b"PATCH", "/files/"), (b"DELETE", "/files/"), (b"GET", "/f/")):
        target = f"{start}{id}".encode().replace(b" ", b"%20")
        lines = (b"Tus-Resumable: 1.0.0", b"Content-Length: 0", b"Upload-Offset: 0")
        lines += (b"Content-Type: application/offset+octet-stream",)
        said = wire.head(*lines, method=method, target=target, host=HOST)
        assert heard(daemon, said + SECOND)[0] in (400, 404, 405), target


# --- downloads and what is put together -----------------------------------------------------------

RANGES: Final = {
    "bytes=-0": 416,
    "bytes=9-": 416,
    "bytes=4-2": 200,
    "x=0-1": 200,
    "bytes=0-99999999999999999999": 200,
    "bytes=0-0,0-0": 206,
    "bytes=" + "0-0," * 16 + "1-1": 200,
    "bytes=" + "0-0," * 10_000: 431,
}


def test_ranges_cost_no_more_than_the_file(nobody: Asker) -> None:
    """Or are not listened to."""
    id = nobody.stored()
    for said, status in RANGES.items():
        answer = nobody.ask("GET", f"/f/{id}", {"Range": said})
        assert answer.status == status, said[:40]
        assert status not in (200, 206) or len(answer.said) < 400  # type: ignore[attr-defined]


def test_what_is_read_while_it_is_deleted_is_read_to_its_end(daemon: Daemon, nobody: Asker) -> None:
    """And nobody has it afterwards; nor before it is complete, nor the rest of another file."""
    assert nobody.status("GET", f"/f/{nobody.begun().rpartition('/')[2]}") == "404"
    data = bytes(8 << 20)
    id = str(nobody.ask("PUT", "/large", {}, data).said).split("/f/")[1].split("/")[0]  # type: ignore[attr-defined]
    other = {"Range": "bytes=1-2", "If-Range": '"of-another-file"'}
    assert nobody.ask("GET", f"/f/{id}", other).status == 200
    connection = http.client.HTTPConnection(*daemon.address, timeout=60)
    with closing(connection):
        connection.request("GET", f"/f/{id}")
        answer = connection.getresponse()
        begun = answer.read(1)
        assert nobody.status("DELETE", f"/api/upload/{id}") == "204"
        assert begun + answer.read() == data
    assert nobody.status("GET", f"/f/{id}") == "404"
    assert not (daemon.folder / "large").exists()


def test_what_is_put_together_is_judged_before_a_byte_is_copied(nobody: Asker) -> None:
    """No part of ours, not a path, too many, or more in all than one file may have."""

    def final(parts: Sequence[str]) -> int:
        return nobody.ask(
            "POST", "/files/", TUS | {"Upload-Concat": f"final;{' '.join(parts)}"}
        ).status

    part = nobody.begun(**{"Upload-Concat": "partial", "Upload-Length": str(MOST // 2 + 1)})
    assert final([part, part]) == 413
    assert final([nobody.begun()]) in (400, 403)
    assert final(["/files/" + "x" * 24]) in (400, 404)
    assert {final([path]) for path in ("../x", "../../etc/passwd", "https://evil/files/x")} <= {
        *(400, 404)
    }
    assert final([part] * 1000) in (400, 413, 431)
    assert nobody.status("DELETE", part, TUS) == "204"


# --- forms ----------------------------------------------------------------------------------------

DISPOSITION: Final = b'Content-Disposition: form-data; name="f"; filename="a"\r\n'
PART: Final = b"--b\r\n" + DISPOSITION + b"\r\nx\r\n"
END: Final = b"--b--\r\n"
FORMS: Final = {
    "no end": (b"b", PART),
    "no end of a part": (b"b", b"--b\r\n" + DISPOSITION),
    "100 000 parts": (
        b"b",
        b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n\r\n' * 100_000,
    ),
    "a head of 1 MiB": (b"b", b"--b\r\nA: " + b"a" * (1 << 20) + b"\r\n\r\nx\r\n" + END),
    "a preamble of 1 MiB": (b"b", b"\r\n" * (1 << 19) + PART + END),
    "no name": (b"b", PART.replace(b'name="f"; ', b"") + END),
    "a boundary of backslashes": (b'"' + b"\\" * 40, PART + END),
    "a boundary of 71": (b"b" * 71, PART + END),
    "no boundary": (b"", PART + END),
    "another boundary": (b"c", PART + END),
    "a text of 1 MiB": (
        b"b",
        b'--b\r\nContent-Disposition: form-data; name="t"\r\n\r\n'
        + b"x" * (1 << 20)
        + b"\r\n"
        + END,
    ),
}


@pytest.mark.parametrize(("boundary", "body"), FORMS.values(), ids=FORMS)
def test_a_form_that_is_none_leaves_nothing(daemon: Daemon, boundary: bytes, body: bytes) -> None:
    """400 or too much; no file of it is there, not even the good ones in it."""
    lines = (b"Content-Type: multipart/form-data; boundary=" + boundary,)
    lines += (b"Content-Length: %d" % len(body),)
    before = {path.name for path in daemon.folder.iterdir()}
    said = wire.head(*lines, method=b"POST", host=HOST) + body
    assert heard(daemon, said + SECOND)[0] in (400, 413, 415, 431)
    assert {path.name for path in daemon.folder.iterdir()} == before


def test_a_form_of_nothing_but_returns_is_a_file(nobody: Asker, daemon: Daemon) -> None:
    """However they look like the beginning of a boundary: five mebibytes, in linear time."""
    fields = {"Content-Type": "multipart/form-data; boundary=b"}
    data = b"\r" * (5 << 20)
    assert nobody.status(
        "POST", "/", fields, b"--b\r\n" + DISPOSITION + b"\r\n" + data + b"\r\n" + END
    )
    [new] = [
        path
        for path in daemon.folder.iterdir()
        if path.name.startswith("a") and path.stat().st_size == len(data)
    ]
    assert new.read_bytes() == data
