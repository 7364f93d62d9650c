"""The kernel path: every byte once, in its place, and of its own connection."""

from __future__ import annotations

import errno
import os
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.store.kit import told
from uploadd.errors import NoSpace, StoreError
from uploadd.protocol.extents import NOTHING
from uploadd.store import pull as module
from uploadd.store.file import FileStore
from uploadd.store.pull import STEP, Pipes


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A peer, and our end of its connection, which does not block."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    ours.setblocking(False)
    with peer, ours:
        yield peer, ours


def never() -> bool:
    """Nobody wants it to stop."""
    return False


def sending(peer: socket.socket, data: bytes, *, close: bool = False) -> threading.Thread:
    """A thread that sends *data*."""

    def send() -> None:
        peer.sendall(data)
        if close:
            peer.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


async def pull_all(store: FileStore, id: str, ours: socket.socket, count: int) -> int:
    """Pull until *count* bytes have come, or no more will; how many came."""
    done = 0
    while done < count:
        await trio.lowlevel.wait_readable(ours)
        pulled = await store.pull(id, ours.fileno(), done, count - done, never)
        done += pulled.moved
        if pulled.ended:
            break
    return done


async def test_what_comes_from_the_socket_is_in_the_file(
    tmp_path: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    """All of it, in order; and not one byte of what follows on the connection."""
    store, (peer, ours) = FileStore(str(tmp_path)), pair
    data = random.Random(1).randbytes(5 * STEP + 4321)
    thread = sending(peer, data + b"the next request")
    assert await pull_all(store, "a", ours, len(data)) == len(data)
    await trio.to_thread.run_sync(thread.join)
    assert await told(store, "a") == NOTHING.add(0, len(data))
    assert await store.read("a", 0, len(data) + 1) == data
    assert ours.recv(99) == b"the next request"
    await store.aclose()


async def test_where_the_connection_ends_the_file_ends(
    tmp_path: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    """What came before counts; whether the peer closes or resets."""
    store, (peer, ours) = FileStore(str(tmp_path)), pair
    data = os.urandom(STEP // 2)
    sending(peer, data, close=True).join()
    assert await pull_all(store, "a", ours, 10 * STEP) == len(data)
    assert await told(store, "a") == NOTHING.add(0, len(data))
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
    peer.close()
    await trio.lowlevel.wait_readable(ours)
    assert (await store.pull("a", ours.fileno(), len(data), 99, never))[:3] == (0, True, None)
    await store.aclose()


async def test_it_stops_between_two_steps(
    tmp_path: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    """A takeover waits for one; what was moved counts."""
    store, (peer, ours) = FileStore(str(tmp_path)), pair
    thread = sending(peer, bytes(4 * STEP))
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    await trio.lowlevel.wait_readable(ours)
    pulled = await store.pull("a", ours.fileno(), 0, 4 * STEP, stop)
    assert 0 < pulled.moved <= 2 * STEP
    assert await told(store, "a") == NOTHING.add(0, pulled.moved)
    await pull_all(store, "rest", ours, 4 * STEP - pulled.moved)
    await trio.to_thread.run_sync(thread.join)
    await store.aclose()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
async def test_a_disk_error_leaves_nothing_in_a_pipe_for_the_next(
    tmp_path: Path,
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    """The bytes that it was holding belong to a connection that has ended."""
    store, (peer, ours) = FileStore(str(tmp_path)), pair
    real, failing = os.splice, [True]

    def splice(src: int, dst: int, count: int, **how: int) -> int:
        if "offset_dst" in how and failing:
            if how["offset_dst"]:
                failing.clear()
                raise OSError(code, os.strerror(code))
            count = min(count, 1000)  # a part of the step goes in
        return real(src, dst, count, **how)

    monkeypatch.setattr(os, "splice", splice)
    thread = sending(peer, b"x" * STEP)
    await trio.lowlevel.wait_readable(ours)
    with pytest.raises(NoSpace if code == errno.ENOSPC else StoreError):
        await store.pull("a", ours.fileno(), 0, STEP, never)
    assert await told(store, "a") == NOTHING.add(0, 1000), "what went in is counted"
    ours.setblocking(True)
    thread_reads = threading.Thread(target=drain, args=(ours,))
    thread_reads.start()
    thread.join()
    peer.close()
    thread_reads.join()
    with socket.create_server(("127.0.0.1", 0)) as server:
        other = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    with other, theirs:
        theirs.setblocking(False)
        other.sendall(b"y" * 5000)
        assert await pull_all(store, "b", theirs, 5000) == 5000
    assert await store.read("b", 0, 9999) == b"y" * 5000
    await store.aclose()


def drain(sock: socket.socket) -> None:
    """Read to the end."""
    while sock.recv(1 << 16):
        pass


async def test_a_file_system_without_splice_has_the_same_bytes(
    tmp_path: Path,
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They go through this process then."""
    store, (peer, ours) = FileStore(str(tmp_path)), pair
    real = os.splice

    def splice(src: int, dst: int, count: int, **how: int) -> int:
        if "offset_dst" in how:
            raise OSError(errno.EINVAL, "")
        return real(src, dst, count, **how)

    monkeypatch.setattr(os, "splice", splice)
    data = os.urandom(3 * STEP + 5)
    thread = sending(peer, data)
    assert await pull_all(store, "a", ours, len(data)) == len(data)
    await trio.to_thread.run_sync(thread.join)
    assert await store.read("a", 0, len(data) + 1) == data
    await store.aclose()


@pytest.mark.parametrize("large", [True, False])
async def test_many_at_once_do_not_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    """More connections than threads, in large pipes and in those of an unprivileged user."""
    if not large:
        monkeypatch.setattr(module.fcntl, "fcntl", refuse)
    store, chance = FileStore(str(tmp_path)), random.Random(7)
    truth = {f"u{number}": chance.randbytes(200_000 + number) for number in range(48)}

    async def one(id: str, data: bytes) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            thread = sending(theirs, data)
            assert await pull_all(store, id, ours, len(data)) == len(data)
            await trio.to_thread.run_sync(thread.join)

    async with trio.open_nursery() as nursery:
        for id, data in truth.items():
            nursery.start_soon(one, id, data)
    for id, data in truth.items():
        assert await store.read(id, 0, len(data) + 1) == data
    await store.aclose()


def refuse(fd: int, command: int, size: int) -> int:
    """What fcntl says when the user has had enough large pipes."""
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def test_pipes_are_closed_when_there_are_enough() -> None:
    """And when the store is."""
    before = len(os.listdir("/proc/self/fd"))
    pipes = Pipes(2)
    taken = [pipes.take() for _ in range(5)]
    for pipe in taken:
        pipes.put_back(pipe)
    assert len(os.listdir("/proc/self/fd")) == before + 4
    pipes.close()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_failed_upload_takes_nothing_by_this_way_either(
    tmp_path: Path,
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Until it was rewound."""
    store, (peer, ours) = FileStore(str(tmp_path)), pair
    await store.write("a", 0, [b"1"])

    def fdatasync(fd: int) -> None:
        raise OSError(errno.EIO, "")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fdatasync)
        await store.flush(["a"])
    peer.sendall(b"data")
    with pytest.raises(StoreError):
        await store.pull("a", ours.fileno(), 1, 4, never)
    await store.rewind("a", NOTHING)
    assert await pull_all(store, "a", ours, 4) == 4
    await store.aclose()


@pytest.mark.parametrize(("brings", "waits"), [(1, 1), (STEP // 16, 7)])
async def test_a_thread_does_not_wait_for_long_in_all(
    tmp_path: Path,
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    brings: int,
    waits: int,
) -> None:
    """Whoever always brings something, just in time, has no thread for himself: others want it.

    Bytes that come singly are worth no waiting at all.
    """
    (peer, ours), waited = pair, 0

    class Poll:
        """Each wait lasts 3 ms, and then something comes."""

        def register(self, fd: int, what: int) -> None:
            assert fd == ours.fileno()

        def poll(self, patience_ms: int) -> list[int]:
            nonlocal waited
            waited += 1
            peer.sendall(bytes(brings))
            ours.setblocking(True)
            ours.recv(1, socket.MSG_PEEK)  # it is there
            ours.setblocking(False)
            return [ours.fileno()]

    store = FileStore(str(tmp_path))
    peer.sendall(bytes(1000))
    await trio.lowlevel.wait_readable(ours)
    with monkeypatch.context() as patch:
        patch.setattr(module.select, "poll", Poll)
        patch.setattr(module.time, "monotonic", lambda: waited * 0.003)
        pulled = await store.pull("a", ours.fileno(), 0, 16 * STEP, lambda: waited > 99)
    assert waited == waits
    assert 1000 < pulled.moved <= 1000 + waits * brings
    assert not pulled.ended
    await pull_all(store, "b", ours, 1000 + waits * brings - pulled.moved)
    await store.aclose()
