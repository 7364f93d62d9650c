"""A foreign client: the PyPI package ``websockets`` and ``docs/protocol.md``, nothing of ours.

What these tests send and expect stands on that page.  A test that fails is a server that does
not do what the page says, or a page that does not say what the server does.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import struct
import zlib
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import SHUT_RDWR
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.e2e.daemon import Daemon

CRC32: Final = 1
LAST: Final = 2
FLUSH: Final = 4
ANSWER: Final = 60.0


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One server for all."""
    with Daemon(tmp_path_factory.mktemp("foreign")) as daemon:
        daemon.start()
        yield daemon
        assert "Traceback" not in daemon.log, daemon.log


class Session:
    """A WebSocket, and the two kinds of messages that the page knows."""

    def __init__(self, socket: ClientConnection, **hello: Any) -> None:
        self.socket = socket
        assert socket.subprotocol == "uploadd.v1"
        self.say("hello", **hello)
        self.welcome = self.hear("welcome")
        self.limits: dict[str, int] = self.welcome["limits"]

    def say(self, kind: str, **members: Any) -> None:
        """Send one JSON object with a type."""
        self.socket.send(json.dumps({"type": kind, **members}))

    def chunk(self, ref: int, offset: int, payload: bytes, flags: int = 0, sum: int = 0) -> None:
        """Send one chunk: kind, flags, reserved, ref, offset, and perhaps a checksum."""
        header = struct.pack(">BBHIQ", 1, flags, 0, ref, offset)
        if flags & CRC32:
            header += struct.pack(">I", sum)
        self.socket.send(header + payload)

    def hear(self, *kinds: str) -> dict[str, Any]:
        """The next message; it is of one of *kinds*."""
        told: dict[str, Any] = json.loads(self.socket.recv(timeout=ANSWER))
        assert told["type"] in kinds, told
        return told

    def hear_last(self, *kinds: str) -> dict[str, Any]:
        """The next message that is no ack; it is of one of *kinds*."""
        while (told := self.hear(*kinds, "ack"))["type"] == "ack":
            pass
        return told

    def hear_durable(self, ref: int, offset: int) -> dict[str, Any]:
        """The ack of *ref* that says that all below *offset* is durable."""
        while (told := self.hear("ack"))["offset"] < offset or told["ref"] != ref:
            pass
        return told

    def hear_done(self, ref: int) -> dict[str, Any]:
        """The end of *ref*, with ready before it or without."""
        while (told := self.hear("ready", "ack", "done"))["type"] != "done":
            assert told["ref"] == ref
        return told

    def begin(self, ref: int, **members: Any) -> dict[str, Any]:
        """Begin, and hear ready."""
        self.say("begin", ref=ref, **members)
        ready = self.hear_last("ready")
        assert ready["ref"] == ref
        return ready

    def closed(self) -> int | None:
        """Hear to the end; the close code."""
        with suppress(ConnectionClosed):
            while True:
                self.socket.recv(timeout=ANSWER)
        return self.socket.close_code

    def cut(self) -> None:
        """Lose the connection, without a word."""
        self.socket.socket.shutdown(SHUT_RDWR)


@contextmanager
def open_session(daemon: Daemon, **hello: Any) -> Iterator[Session]:
    """A session, behind welcome."""
    host, port = daemon.address
    ours = [Subprotocol("uploadd.v1")]
    with connect(f"ws://{host}:{port}/-/ws", subprotocols=ours, compression=None) as socket:
        yield Session(socket, **hello)


def served(daemon: Daemon, told: dict[str, Any]) -> bytes:
    """The file that ``done`` told of; the url is relative to the server."""
    with urlopen(daemon.url + told["url"]) as answer:
        body: bytes = answer.read()
    return body


# --- one upload -----------------------------------------------------------------------------------


def test_welcome_tells_what_is_allowed(daemon: Daemon) -> None:
    """And unknown members of hello are ignored."""
    with open_session(daemon, client="foreign/1.0", can=["something new"], shoe_size=43) as session:
        assert set(session.welcome["can"]) >= {"upload", "resume", "key", "crc32", "flush"}
        assert session.welcome["durability"] == "durable"
        assert session.limits["max_chunk"] >= 16 * 1024
        assert session.limits["max_refs"] >= 1
        assert session.limits["initial"] >= 0


def test_the_upload_of_the_page_word_for_word(daemon: Daemon) -> None:
    """With the bytes of its chunk as the page prints them."""
    with open_session(daemon, client="example/1.0") as session:
        session.say("begin", ref=7, name="greeting.txt", length=65541)
        session.chunk(7, 0, bytes(65536))
        ready = session.hear_last("ready")
        assert (ready["ref"], ready["offset"]) == (7, 0)
        printed = "01 07 00 00 00 00 00 07 00 00 00 00 00 01 00 00 36 10 a6 86 68 65 6c 6c 6f"
        session.socket.send(bytes.fromhex(printed))
        done = session.hear_last("done")
        assert (done["upload"], done["length"]) == (ready["upload"], 65541)
        assert done["url"] == ready["url"]
        assert served(daemon, done) == bytes(65536) + b"hello"


def test_stop_and_wait_with_flush(daemon: Daemon) -> None:
    """Every chunk is acknowledged as durable before the next is sent."""
    content = os.urandom(100_000)
    with open_session(daemon) as session:
        session.begin(1, name="slow.bin", length=len(content))
        for at in range(0, len(content), 10_000):
            session.chunk(1, at, content[at : at + 10_000], FLUSH)
            ack = session.hear_durable(1, at + 10_000)
            assert ack["received"] == ack["offset"] == at + 10_000 <= ack["limit"]
        session.say("finish", ref=1)
        assert served(daemon, session.hear_last("done")) == content


def test_credit_is_enough_for_any_length(daemon: Daemon) -> None:
    """Sixty-four mebibytes by the newest limit, waiting only when it is used up."""
    size, piece = 64 << 20, os.urandom(1 << 20)
    with open_session(daemon) as session:
        session.say("begin", ref=1, name="large.bin", length=size)
        at, limit, digest = 0, session.limits["initial"], hashlib.sha256()
        while at < size:
            count = min(size - at, session.limits["max_chunk"], limit - at)
            if not count:
                limit = max(limit, session.hear("ready", "ack")["limit"])
                continue
            session.chunk(1, at, piece[:count])
            digest.update(piece[:count])
            at += count
        value = b64encode(digest.digest()).decode()
        session.say("finish", ref=1, digest=f"sha-256=:{value}:")
        done = session.hear_done(1)
        assert done["digest"] == f"sha-256=:{value}:"
        assert hashlib.sha256(served(daemon, done)).digest() == digest.digest()


def test_length_is_told_at_the_end(daemon: Daemon) -> None:
    """By finish, with or without it, and by the last chunk; and an empty file is a file."""
    with open_session(daemon) as session:
        for ref, members in enumerate(({"length": 3}, {}, {"length": None})):
            session.begin(ref, name="unknown")
            session.chunk(ref, 0, b"abc")
            session.say("finish", ref=ref, **members)
            assert session.hear_last("done")["length"] == 3
        session.begin(5, length=None)
        session.chunk(5, 0, b"abc", LAST)
        assert served(daemon, session.hear_last("done")) == b"abc"
        session.say("begin", ref=6, name="empty", length=0)
        session.say("finish", ref=6)
        assert served(daemon, session.hear_done(6)) == b""


def test_all_members_of_begin(daemon: Daemon) -> None:
    """A digest that was announced is checked, and a wrong one ends the ref."""
    content = b"with everything"
    right = f"sha-256=:{b64encode(hashlib.sha256(content).digest()).decode()}:"
    wrong = f"sha-256=:{b64encode(bytes(32)).decode()}:"
    with open_session(daemon) as session:
        members = {
            "name": "naïve ☃.txt",
            "length": len(content),
            "media_type": "text/plain",
            "metadata": {"album": "holiday"},
        }
        session.begin(0, digest=right, **members)
        session.chunk(0, 0, content, LAST)
        assert served(daemon, session.hear_last("done")) == content
        session.begin(1, digest=wrong, **members)
        session.chunk(1, 0, content, LAST)
        error = session.hear_last("error")
        assert (error["ref"], error["code"], error["final"]) == (1, "digest-mismatch", True)


# --- many -----------------------------------------------------------------------------------------


def test_many_uploads_interleaved(daemon: Daemon) -> None:
    """Thirty at once, each chunk to another one."""
    contents = [os.urandom(5000 + 997 * ref) for ref in range(30)]
    with open_session(daemon) as session:
        for ref, content in enumerate(contents):
            session.say("begin", ref=ref, name=f"many-{ref}", length=len(content))
        for at in range(0, 40_000, 1000):
            for ref, content in enumerate(contents):
                if piece := content[at : at + 1000]:
                    session.chunk(ref, at, piece, LAST if at + 1000 >= len(content) else 0)
        done: dict[int, dict[str, Any]] = {}
        while len(done) < len(contents):
            if (told := session.hear("ready", "ack", "done"))["type"] == "done":
                done[told["ref"]] = told
            else:
                assert told["ref"] not in done  # no ack follows done
        for ref, content in enumerate(contents):
            assert served(daemon, done[ref]) == content


def test_a_ref_may_be_used_again(daemon: Daemon) -> None:
    """After its last word, as often as one likes."""
    with open_session(daemon) as session:
        for _ in range(3):
            session.say("begin", ref=2**31 - 1, name="again")
            session.chunk(2**31 - 1, 0, b"x", LAST)
            assert served(daemon, session.hear_done(2**31 - 1)) == b"x"


def test_one_ref_more_than_allowed_is_too_many(daemon: Daemon) -> None:
    """And the others go on."""
    with open_session(daemon) as session:
        most = session.limits["max_refs"]
        for ref in range(most):
            session.begin(ref)
        session.say("begin", ref=most)
        error = session.hear_last("error")
        assert (error["ref"], error["code"], error["final"]) == (most, "too-many", True)
        session.chunk(0, 0, b"x", LAST)
        assert session.hear_last("done")["ref"] == 0


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_wrong_offset_is_said_once(daemon: Daemon) -> None:
    """What follows is dropped in silence, until begin; ready says where to go on."""
    with open_session(daemon) as session:
        upload = session.begin(1, name="a", length=6)["upload"]
        session.chunk(1, 0, b"abc")
        for at in (4, 5, 3):
            session.chunk(1, at, b"x")
        error = session.hear_last("error")
        assert (error["ref"], error["code"], error["final"]) == (1, "offset-mismatch", False)
        assert session.begin(1, upload=upload)["offset"] == 3
        session.chunk(1, 3, b"def", LAST)
        assert served(daemon, session.hear_last("done")) == b"abcdef"


def test_a_checksum_is_checked(daemon: Daemon) -> None:
    """Of a damaged chunk nothing is stored."""
    with open_session(daemon) as session:
        upload = session.begin(1, name="a", length=6)["upload"]
        session.chunk(1, 0, b"abc", CRC32, zlib.crc32(b"abc"))
        session.chunk(1, 3, b"dXf", CRC32, zlib.crc32(b"def"))
        error = session.hear_last("error")
        assert (error["code"], error["final"]) == ("checksum-mismatch", False)
        assert session.begin(1, upload=upload)["offset"] == 3
        session.chunk(1, 3, b"def", CRC32 | LAST, zlib.crc32(b"def"))
        assert served(daemon, session.hear_last("done")) == b"abcdef"


def test_too_little_is_incomplete_and_too_much_is_refused(daemon: Daemon) -> None:
    """The one goes on, the other has ended."""
    with open_session(daemon) as session:
        upload = session.begin(1, name="a", length=6)["upload"]
        session.chunk(1, 0, b"abc", FLUSH)
        session.hear_durable(1, 3)
        session.say("finish", ref=1)
        error = session.hear_last("error")
        assert (error["code"], error["final"], error["offset"]) == ("incomplete", False, 3)
        assert session.begin(1, upload=upload)["offset"] == 3
        session.chunk(1, 3, b"defg")
        error = session.hear_last("error")
        assert (error["code"], error["final"]) == ("length-exceeded", True)


def test_credit_is_a_promise_of_the_client(daemon: Daemon) -> None:
    """A chunk beyond it ends the ref and nothing else."""
    with open_session(daemon) as session:
        limit = session.begin(1, name="a")["limit"]
        session.chunk(1, limit, b"x")
        error = session.hear_last("error")
        assert (error["ref"], error["code"], error["final"]) == (1, "credit-exceeded", True)
        session.begin(1, name="a")


def test_cancel_removes_an_upload(daemon: Daemon) -> None:
    """Whoever comes back to it is told that it is gone; its url was never anything."""
    with open_session(daemon) as session:
        ready = session.begin(1, name="unwanted")
        session.chunk(1, 0, b"abc", FLUSH)
        session.say("cancel", ref=1)
        gone = session.hear_last("gone")
        assert (gone["ref"], gone["upload"], gone["reason"]) == (1, ready["upload"], "cancelled")
        session.say("begin", ref=1, upload=ready["upload"])
        error = session.hear_last("error", "gone")
        assert error.get("code", "gone") == "gone"
        with pytest.raises(HTTPError) as caught:
            served(daemon, ready)
        assert caught.value.code in (404, 410)
        caught.value.close()


def test_a_refused_ref_can_be_cancelled(daemon: Daemon) -> None:
    """DROPPED leads to CANCELLING, and then to one last word."""
    with open_session(daemon) as session:
        upload = session.begin(1, name="a")["upload"]
        session.chunk(1, 17, b"x")
        session.hear_last("error")
        session.say("cancel", ref=1)
        gone = session.hear_last("gone")
        assert (gone["upload"], gone["reason"]) == (upload, "cancelled")


def test_what_is_not_known_ends_nothing(daemon: Daemon) -> None:
    """Types to come are answered; members to come are ignored; reserved ones are not."""
    with open_session(daemon) as session:
        for kind in ("fetch", "credit", "dance"):
            session.say(kind, ref=1)
            error = session.hear("error")
            assert (error["code"], error["final"], "ref" in error) == ("unsupported", False, False)
        session.begin(1, colour="blue")
        session.say("begin", ref=2, start=5)
        error = session.hear_last("error")
        assert (error["ref"], error["code"], error["final"]) == (2, "unsupported", True)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("no JSON", 4400),
        ('{"type":"begin"}', 4400),
        ('{"type":"begin","ref":1.5}', 4400),
        ('{"type":"begin","ref":2147483648}', 4400),
        ('{"type":"hello"}', 4400),
        ('{"type":"drained"}', 4400),
        ("x" * 8193, 1009),
        (b"\x02" + bytes(16), 1002),
        (b"\x01\x08" + bytes(15), 1002),
        (b"\x01\x00\x00\x01" + bytes(13), 1002),
        (b"\x01" + bytes(15), 4400),
    ],
)
def test_what_is_not_of_the_protocol_ends_the_session(
    daemon: Daemon, said: str | bytes, code: int
) -> None:
    """With a close code that tells what the client must do."""
    with open_session(daemon) as session:
        session.socket.send(said)
        assert session.closed() == code


def test_begin_while_the_ref_is_in_use_is_a_bug_of_the_client(daemon: Daemon) -> None:
    """The table says 4400; what was taken is kept."""
    with open_session(daemon) as session:
        upload = session.begin(1, name="a")["upload"]
        session.chunk(1, 0, b"abc")
        session.say("begin", ref=1)
        assert session.closed() == 4400
    with open_session(daemon) as session:
        assert session.begin(9, upload=upload)["offset"] == 3


# --- going on -------------------------------------------------------------------------------------


def test_resume_after_a_cut(daemon: Daemon) -> None:
    """At the last offset that was heard, or above; in the middle of a message, by id and by key."""
    content = os.urandom(300_000)
    key = b64encode(os.urandom(18)).decode()
    named = {"name": "cut.bin", "length": len(content), "key": key}
    with open_session(daemon) as session:
        upload = session.begin(1, **named)["upload"]
        session.chunk(1, 0, content[:100_000], FLUSH)
        heard = session.hear_durable(1, 100_000)["offset"]
        session.chunk(1, 100_000, content[100_000:150_000])
        session.cut()
    with open_session(daemon) as session:
        ready = session.begin(4, upload=upload)
        assert heard <= ready["offset"] <= 150_000
        session.chunk(4, ready["offset"], content[ready["offset"] : 200_000], FLUSH)
        heard = session.hear_durable(4, 200_000)["offset"]
        session.cut()
    with open_session(daemon) as session:
        ready = session.begin(1, **named)
        assert (ready["upload"], ready["offset"]) == (upload, heard)
        session.chunk(1, heard, content[heard:], LAST)
        assert served(daemon, session.hear_last("done")) == content
        session.say("begin", ref=1, **named)  # as if done had been lost
        assert session.hear("done")["upload"] == upload


def test_the_newest_begin_has_the_upload(daemon: Daemon) -> None:
    """The one before it hears taken-over, and what it still sends is dropped in silence."""
    with open_session(daemon) as one, open_session(daemon) as two:
        upload = one.begin(1, name="a", length=6)["upload"]
        one.chunk(1, 0, b"abc", FLUSH)
        one.hear_durable(1, 3)
        ready = two.begin(8, upload=upload)
        assert ready["offset"] == 3
        gone = one.hear_last("gone")
        assert (gone["ref"], gone["upload"], gone["reason"]) == (1, upload, "taken-over")
        one.chunk(1, 3, b"xyz", LAST)
        one.begin(2, name="the session goes on")
        two.chunk(8, 3, b"def", LAST)
        assert served(daemon, two.hear_last("done")) == b"abcdef"


def test_keys_belong_to_one_file(daemon: Daemon) -> None:
    """Another name or length is a conflict, and a short key is none without a token."""
    key = b64encode(os.urandom(18)).decode()
    with open_session(daemon) as session:
        session.begin(1, name="a", length=5, key=key)
        for ref, members in enumerate(({"name": "b", "length": 5}, {"name": "a", "length": 6}), 2):
            session.say("begin", ref=ref, key=key, **members)
            error = session.hear_last("error")
            assert (error["ref"], error["code"], error["final"]) == (ref, "key-conflict", True)
        session.say("begin", ref=5, key="short")
        assert session.hear_last("error")["code"] == "unsupported"


def test_an_id_that_nobody_gave_is_not_found(daemon: Daemon) -> None:
    """Nor is one that cannot be."""
    with open_session(daemon) as session:
        for upload in ("A" * 24, "../../etc/passwd", "x"):
            session.say("begin", ref=1, upload=upload)
            error = session.hear("error")
            assert (error["code"], error["final"]) == ("not-found", True)


def test_a_restart_says_drain(tmp_path: Path) -> None:
    """Drained is answered by the last acks and 1012; in the new server it goes on."""
    with Daemon(tmp_path) as daemon:
        daemon.start()
        with open_session(daemon) as session:
            upload = session.begin(1, name="a", length=6)["upload"]
            session.chunk(1, 0, b"ab")
            daemon.signal(signal.SIGTERM)
            drain = session.hear_last("drain")
            assert drain["reconnect_after"] >= 0
            assert drain["deadline"] > 0
            session.chunk(1, 2, b"c")
            session.say("begin", ref=2)
            assert session.hear_last("error")["code"] == "draining"
            session.say("drained")
            session.hear_durable(1, 3)
            assert session.closed() == 1012
        assert daemon.wait() == 0
        daemon.start()
        with open_session(daemon) as session:
            assert session.begin(1, upload=upload)["offset"] == 3
            session.chunk(1, 3, b"def", LAST)
            assert served(daemon, session.hear_last("done")) == b"abcdef"


# --- the handshake --------------------------------------------------------------------------------


def test_the_subprotocol_must_be_offered(daemon: Daemon) -> None:
    """Without it there is no session; a token beside it is never echoed."""
    host, port = daemon.address
    url = f"ws://{host}:{port}/-/ws"
    with pytest.raises(InvalidStatus) as caught, connect(url, compression=None):
        pass
    assert caught.value.response.status_code == 426
    offered = [Subprotocol("uploadd.v1"), Subprotocol("uploadd.token.c2VjcmV0")]
    with connect(url, subprotocols=offered) as socket:
        assert socket.subprotocol == "uploadd.v1"
        assert socket.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers
