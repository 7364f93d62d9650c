"""Bodies that the kernel moves: the real daemon, real connections, and everybody's own bytes."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.daemon import Daemon

MIB: Final = 1 << 20
POORER: Final = ("setpriv", "--bounding-set=-sys_resource,-sys_admin")
"""To the kernel a user who may have 64 large pipes, whatever the name is."""
TUS: Final = "Tus-Resumable: 1.0.0\r\n"
PIECE: Final = 7001
"""Bytes that are sooner read and written than moved by the kernel."""


class Answer:
    """Status and fields of what a server said."""

    def __init__(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        self.status = int(first.split()[1])
        pairs = (line.split(": ", 1) for line in lines if line)
        self.fields = {name.lower(): value for name, value in pairs}

    @property
    def offset(self) -> int:
        """Where the upload goes on."""
        return int(self.fields["upload-offset"])


class Peer:
    """One connection to the daemon, with blocking calls."""

    def __init__(self, daemon: Daemon) -> None:
        self.sock = socket.create_connection(daemon.address)
        self.sock.settimeout(60)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *error: object) -> None:
        self.sock.close()

    def ask(self, method: str, target: str, fields: str = "", count: int = 0) -> None:
        """Send a head; a body of *count* bytes is to follow."""
        said = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{TUS}{fields}"
        self.sock.sendall(f"{said}Content-Length: {count}\r\n\r\n".encode())

    def answer(self) -> Answer:
        """The next one."""
        head = b""
        while b"\r\n\r\n" not in head:
            more = self.sock.recv(65536)
            if not more:
                raise ConnectionError("no answer")
            head += more
        return Answer(head.partition(b"\r\n\r\n")[0].decode())

    def create(self, length: int) -> str:
        """The path of a new upload."""
        self.ask("POST", "/files/", f"Upload-Length: {length}\r\n")
        return self.answer().fields["location"]

    def patch(self, target: str, at: int, count: int) -> None:
        """Announce *count* bytes at *at*."""
        kind = "Content-Type: application/offset+octet-stream\r\n"
        self.ask("PATCH", target, f"{kind}Upload-Offset: {at}\r\n", count)

    def drop(self) -> None:
        """End it by a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def head(daemon: Daemon, target: str, *, ends: bool) -> int:
    """Where the upload goes on; in the words of the IETF asking *ends* a running append."""
    with Peer(daemon) as peer:
        if ends:
            said = f"HEAD {target} HTTP/1.1\r\nHost: localhost\r\nUpload-Draft-Interop-Version: 8"
            peer.sock.sendall(f"{said}\r\n\r\n".encode())
        else:
            peer.ask("HEAD", target)
        return peer.answer().offset


@pytest.fixture
def daemon(memory: Path) -> Iterator[Daemon]:
    """One on a folder in memory: what is fast there meets itself more often."""
    with Daemon(memory) as daemon:
        daemon.start()
        yield daemon
        assert daemon.alive
        assert "Traceback" not in daemon.log, daemon.log


def stored(daemon: Daemon, target: str) -> bytes:
    """The bytes of a complete upload."""
    return (daemon.folder / target.rpartition("/")[2]).read_bytes()


@pytest.mark.parametrize("how", ["put", "patch"])
def test_a_large_body_arrives_as_it_was(daemon: Daemon, how: str) -> None:
    """Its head in the same segment, and the next request right behind it."""
    data = os.urandom(40 * MIB + 77)
    with Peer(daemon) as peer:
        target = peer.create(len(data)) if how == "patch" else "/x.bin"
        if how == "patch":
            peer.patch(target, 0, len(data))
        else:
            peer.ask("PUT", target, "", len(data))
        sender = threading.Thread(
            target=peer.sock.sendall, args=(data + b"OPTIONS * HTTP/1.1\r\n",)
        )
        sender.start()
        answer = peer.answer()
        sender.join()
        assert answer.status == (204 if how == "patch" else 201)
        peer.sock.sendall(b"Host: localhost\r\n\r\n")
        assert peer.answer().status in (200, 204)
    name = target.rpartition("/")[2] if how == "patch" else "x.bin"
    assert (daemon.folder / name).read_bytes() == data


def test_taken_over_in_the_middle_every_byte_is_once_and_of_its_sender(daemon: Daemon) -> None:
    """The old holder sends as fast as it can; the new one goes on where it is told."""
    size = 48 * MIB
    with ExitStack() as ends:  # whoever lost one has not noticed yet when the next begins
        for _ in range(12):
            old = ends.enter_context(Peer(daemon))
            target = old.create(size)
            old.patch(target, 0, size)
            flood = threading.Thread(target=pour, args=(old, b"a", size))
            flood.start()
            ends.callback(flood.join)
            assert daemon.settles(lambda t=target: growing(daemon, t) > MIB)  # type: ignore[misc]
            at = head(daemon, target, ends=True)
            with Peer(daemon) as new:
                new.patch(target, at, size - at)
                pour(new, b"b", size - at)
                assert new.answer().status == 204
            assert stored(daemon, target) == b"a" * at + b"b" * (size - at)
            assert at > 0


def pour(peer: Peer, letter: bytes, count: int) -> None:
    """Send *count* times *letter*, as long as somebody takes it."""
    with suppress(OSError):
        while count:
            count -= peer.sock.send(letter * min(count, MIB))


def growing(daemon: Daemon, target: str) -> int:
    """Bytes of an upload in the page cache."""
    path = daemon.folder / ".uploadd/growing" / target.rpartition("/")[2]
    return path.stat().st_size if path.exists() else 0


def test_a_number_that_is_used_again_carries_its_own_bytes_only(daemon: Daemon) -> None:
    """Connections are dropped in the middle of slices while others come with the same numbers."""
    size = 3 * MIB

    def worker(letter: bytes) -> None:
        for _ in range(15):
            with Peer(daemon) as peer:
                target = peer.create(size)
                peer.patch(target, 0, size)
                pour(peer, letter, size // 2)
                peer.drop()
            at = head(daemon, target, ends=True)
            with Peer(daemon) as peer:
                peer.patch(target, at, size - at)
                pour(peer, letter, size - at)
                assert peer.answer().status == 204
            assert stored(daemon, target) == letter * size

    run_all([lambda letter=bytes([65 + n]): worker(letter) for n in range(6)])  # type: ignore[misc]


def run_all(jobs: list[Callable[[], None]]) -> None:
    """Run *jobs* in a thread each; raise what one of them raised."""
    failed: list[BaseException] = []

    def run(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # told below
            failed.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def test_a_user_with_few_pipes_serves_200_connections(memory: Path) -> None:
    """More than there are threads and large pipes: slower, and nothing is mixed or lost."""
    size = 300_000
    with Daemon(memory, under=POORER) as daemon:
        daemon.start()

        def upload(number: int) -> None:
            data = hashlib.shake_128(str(number).encode()).digest(size)
            with Peer(daemon) as peer:
                target = peer.create(size)
                peer.patch(target, 0, size)
                peer.sock.sendall(data)
                assert peer.answer().status == 204
            assert stored(daemon, target) == data

        run_all([lambda n=n: upload(n) for n in range(200)])  # type: ignore[misc]
        assert "Traceback" not in daemon.log, daemon.log


def test_whoever_sends_nothing_more_is_let_go(memory: Path) -> None:
    """What came counts, and is told; nothing waits for a peer that is silent."""
    with Daemon(memory, "--set", "timeouts.stop=2 s") as daemon:
        daemon.start()
        with Peer(daemon) as peer:
            target = peer.create(10 * MIB)
            peer.patch(target, 0, 10 * MIB)
            peer.sock.sendall(bytes(3 * MIB))
            assert daemon.settles(lambda: growing(daemon, target) == 3 * MIB)
            assert daemon.terminate() == 0, "it does not wait for ever to stop"
        daemon.start()
        assert head(daemon, target, ends=False) == 3 * MIB


def test_killed_in_the_middle_it_goes_on_at_what_was_durable(memory: Path) -> None:
    """kill -9 while the kernel moves bytes; what is told after the restart is there."""
    data = os.urandom(MIB) * 64
    with Daemon(memory) as daemon:
        daemon.start()
        with Peer(daemon) as peer:
            target = peer.create(len(data))
        at = 0
        for _ in range(6):
            with Peer(daemon) as peer:
                peer.patch(target, at, len(data) - at)
                sender = threading.Thread(target=send_from, args=(peer, data, at))
                sender.start()
                before = at
                assert daemon.settles(lambda b=before: growing(daemon, target) > b)  # type: ignore[misc]
                daemon.kill()
                sender.join()
            daemon.start()
            at = head(daemon, target, ends=False)
            assert at >= before
            if at == len(data):
                break
        with Peer(daemon) as peer:
            peer.patch(target, at, len(data) - at)
            send_from(peer, data, at)
            assert peer.answer().status == 204
        assert stored(daemon, target) == data


def send_from(peer: Peer, data: bytes, at: int) -> None:
    """Send *data* from *at* on, as long as somebody takes it."""
    with suppress(OSError):
        peer.sock.sendall(memoryview(data)[at:])


def test_after_a_disk_error_in_the_middle_the_connection_is_not_used_again(memory: Path) -> None:
    """How much of the body had left the socket nobody knows: the rest is no request."""
    small = ("prlimit", "--fsize=1500000")  # the ledger's ballast is smaller
    with Daemon(memory, under=small) as daemon:
        daemon.start()
        with Peer(daemon) as peer:
            target = peer.create(1_540_000)
            peer.patch(target, 0, 1_540_000)
            behind = b"GET /-/info HTTP/1.1\r\nHost: localhost\r\n\r\n"
            with suppress(OSError):
                peer.sock.sendall(bytes(1_540_000) + behind)
            answer = peer.answer()
            assert answer.status == 507
            assert answer.fields["connection"] == "close"
            with pytest.raises(ConnectionError):
                peer.answer()
        assert daemon.alive
        assert 0 < head(daemon, target, ends=False) <= 1_500_000


def dribble(daemon: Daemon, target: str, peer: Peer, data: bytes) -> None:
    """Send *data* in pieces not worth a turn in a thread, each when the last is written."""
    for at in range(0, len(data), PIECE):
        peer.sock.sendall(data[at : at + PIECE])
        end = min(at + PIECE, len(data))
        assert daemon.settles(lambda end=end: growing(daemon, target) >= end)


def test_what_dribbles_arrives_as_it_was_and_what_follows_is_the_next_request(
    daemon: Daemon,
) -> None:
    """Nothing of it is taken for the body, though it came with its end."""
    data = os.urandom(200_001)
    with Peer(daemon) as peer:
        target = peer.create(len(data))
        peer.patch(target, 0, len(data))
        behind = f"HEAD {target} HTTP/1.1\r\nHost: localhost\r\n{TUS}\r\n"
        dribble(daemon, target, peer, data[:-PIECE])
        peer.sock.sendall(data[-PIECE:] + behind.encode())
        said = b""
        while said.count(b"\r\n\r\n") < 2:
            more = peer.sock.recv(65536)
            assert more, said
            said += more
        answers = [Answer(head.decode()) for head in said.split(b"\r\n\r\n")[:2]]
        assert [answer.status for answer in answers] == [204, 200]
        assert answers[1].offset == len(data)
        peer.ask("HEAD", target)
        assert peer.answer().offset == len(data), "the connection goes on"
    assert stored(daemon, target) == data


@pytest.mark.parametrize("how", ["end", "reset"])
def test_who_breaks_off_between_two_small_pieces_goes_on_behind_them(
    daemon: Daemon, how: str
) -> None:
    """At once: the claim is free, and nobody waits for more."""
    data = os.urandom(200_000)
    with Peer(daemon) as peer:
        target = peer.create(len(data))
        peer.patch(target, 0, len(data))
        dribble(daemon, target, peer, data[:70_010])
        if how == "reset":
            peer.drop()
        else:
            peer.sock.shutdown(socket.SHUT_WR)
            assert peer.sock.recv(1) == b"", "nobody waits for the rest"
    assert head(daemon, target, ends=False) == 70_010
    with Peer(daemon) as peer:
        peer.patch(target, 70_010, len(data) - 70_010)
        peer.sock.sendall(data[70_010:])
        assert peer.answer().status == 204
    assert stored(daemon, target) == data
