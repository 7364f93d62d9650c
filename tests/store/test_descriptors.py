"""However many uploads grow, few of their files are open, and nobody's bytes suffer from it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.kit import told
from uploadd.errors import StoreError
from uploadd.protocol.extents import NOTHING
from uploadd.protocol.upload import Published
from uploadd.store.contract import Publication
from uploadd.store.file import FileStore


def open_files(root: Path) -> int:
    """How many files of unfinished uploads this process has open."""
    growing, count = os.path.realpath(root / ".uploadd/growing") + "/", 0
    for number in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{number}").startswith(growing)
        except FileNotFoundError:
            continue  # it was the listing itself
    return count


def fails(fd: int) -> None:
    """What fdatasync says of a broken disk."""
    raise OSError(errno.EIO, "")


@contextmanager
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """While the block runs, fdatasync says that it was called, and waits until it is let go on."""
    began, gate, real = threading.Event(), threading.Event(), os.fdatasync

    def late(fd: int) -> None:
        began.set()
        assert gate.wait(10)
        real(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", late)
        yield began, gate


steps = st.lists(st.tuples(st.sampled_from("abcde"), st.binary(min_size=1, max_size=4)))


@given(most=st.integers(1, 3), steps=steps)
@settings(max_examples=60)
async def test_what_was_closed_is_opened_again_where_it_ended(
    most: int, steps: list[tuple[str, bytes]]
) -> None:
    """Whatever the order in which uploads are written: every byte is where it belongs."""
    with TemporaryDirectory() as folder:
        store, truth = FileStore(folder, max_open=most), dict.fromkeys("abcde", b"")
        for id, data in steps:
            await store.write(id, len(truth[id]), [data])
            truth[id] += data
            assert await told(store, id) == NOTHING.add(len(truth[id]) - len(data), len(truth[id]))
            assert open_files(Path(folder)) <= most
        for id, data in truth.items():
            assert await store.read(id, 0, 1000) == data
        await store.aclose()
        assert open_files(Path(folder)) == 0


async def test_bytes_that_are_not_flushed_keep_their_file_open(tmp_path: Path) -> None:
    """Closed, it could hide that the disk lost them; the next upload waits for the flush."""
    store = FileStore(str(tmp_path), max_open=2)
    await store.write("a", 0, [b"1"])
    await store.write("b", 0, [b"2"])
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for id in ("c", "d"):
                nursery.start_soon(store.write, id, 0, [b"3"])
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert open_files(tmp_path) == 2
            assert store.unflushed("c") == 0
            await store.flush(["a", "b"])
    assert open_files(tmp_path) == 2
    assert [store.unflushed(id) for id in "cd"] == [1, 1]
    await store.aclose()


async def test_who_gives_up_waiting_has_taken_nothing(tmp_path: Path) -> None:
    """And its place is free for the next."""
    store = FileStore(str(tmp_path), max_open=1)
    await store.write("a", 0, [b"1"])
    with trio.move_on_after(0.01) as patience:
        await store.write("b", 0, [b"2"])
    assert patience.cancelled_caught
    assert store.unflushed("b") == 0
    await store.flush(["a"])
    await store.write("c", 0, [b"3"])
    assert open_files(tmp_path) == 1
    await store.aclose()


async def test_a_failed_upload_gives_its_file_up_and_stays_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is rewound when somebody comes back for it."""
    store = FileStore(str(tmp_path), max_open=1)
    await store.write("a", 0, [b"1"])
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fails)
        assert isinstance(await told(store, "a"), StoreError)
    await store.write("b", 0, [b"2"])
    assert open_files(tmp_path) == 1
    with pytest.raises(StoreError):
        await store.write("a", 1, [b"1"])
    await store.flush(["b"])
    await store.rewind("a", NOTHING)
    await store.write("a", 0, [b"3"])
    assert await store.read("a", 0, 9) == b"3"
    await store.aclose()


async def test_a_file_that_could_not_be_opened_takes_no_place(tmp_path: Path) -> None:
    """A thousand of those do not keep one good upload out."""
    store = FileStore(str(tmp_path), max_open=1)
    for number in range(3):
        (tmp_path / ".uploadd/growing" / f"x{number}").symlink_to("/nowhere")
        with pytest.raises(StoreError):
            await store.write(f"x{number}", 0, [b"1"])
    await store.write("a", 0, [b"1"])
    await store.aclose()


async def test_a_file_that_is_being_published_is_not_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number would be another file's by the time it is linked."""
    store, gate, link = FileStore(str(tmp_path), max_open=1), threading.Event(), os.link
    linking = threading.Event()

    def late(*args: object, **kwargs: object) -> None:
        linking.set()
        gate.wait(10)
        link(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they came

    await store.write("a", 0, [b"1"])
    await store.flush(["a"])
    monkeypatch.setattr(os, "link", late)
    outcome: list[Published | StoreError] = []
    async with trio.open_nursery() as nursery:

        async def publish() -> None:
            outcome.append((await store.publish([Publication("a", "name")]))["a"])

        nursery.start_soon(publish)
        await trio.to_thread.run_sync(linking.wait, 10)
        nursery.start_soon(store.write, "b", 0, [b"2"])
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert store.unflushed("b") == 0
        gate.set()
    assert isinstance(outcome[0], Published)
    assert (tmp_path / "name").read_bytes() == b"1"
    await store.aclose()


async def test_an_empty_file_that_is_never_published_can_be_closed(tmp_path: Path) -> None:
    """It has no bytes to flush, but it gets its name, and then its descriptor is free."""
    store = FileStore(str(tmp_path), max_open=1)
    await store.write("a", 0, [b""], whole=True)
    assert store.nameless("a")
    await store.flush(["a"])
    assert not store.nameless("a")
    await store.write("b", 0, [b"2"])
    assert open_files(tmp_path) == 1
    await store.aclose()


# --- what waits for its checksum ----------------------------------------------------------------


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("end", ["confirm", "discard"])
async def test_what_waits_for_its_checksum_takes_no_descriptor_for_long(
    tmp_path: Path, whole: bool, end: str
) -> None:
    """However many do, another upload gets in; and each is confirmed or discarded as ever."""
    store = FileStore(str(tmp_path), max_open=2)
    with trio.fail_after(10):
        for number in range(8):
            await store.write(f"p{number}", 0, [b"data"], whole=whole, provisional=True)
        await store.write("other", 0, [b"1"])
        await store.flush(["other"])
    assert open_files(tmp_path) <= 2
    for number in range(8):
        if end == "confirm":
            store.confirm(f"p{number}")
        else:
            await store.discard(f"p{number}", 0)
    held = NOTHING.add(0, 4) if end == "confirm" else NOTHING
    for id in [f"p{number}" for number in range(8)]:
        assert await told(store, id) == held
        assert await store.read(id, 0, 9) == (b"data" if end == "confirm" else b"")
        await store.write(id, held.end, [b"more"])
        assert await told(store, id) == NOTHING.add(held.end, held.end + 4)
    await store.aclose()


async def test_confirmed_while_it_is_closed_it_is_told_when_it_is_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing it makes it durable, and that takes as long as the disk takes."""
    store, flushed = FileStore(str(tmp_path), max_open=1), trio.Event()
    await store.write("a", 0, [b"data"], provisional=True)

    async def flush() -> None:
        assert await told(store, "a") == NOTHING.add(0, 4)
        flushed.set()

    with held_up(monkeypatch) as (began, gate):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.write, "b", 0, [b"2"])
            await trio.to_thread.run_sync(began.wait, 10)
            store.confirm("a")
            nursery.start_soon(flush)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not flushed.is_set()
            gate.set()
    await store.aclose()


async def test_what_could_not_be_made_durable_before_it_was_closed_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checksum may be right: the bytes are lost all the same, and are sent again."""
    store = FileStore(str(tmp_path), max_open=1)
    await store.write("a", 0, [b"data"], provisional=True)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fails)
        await store.write("b", 0, [b"2"])
    store.confirm("a")
    assert isinstance(await told(store, "a"), StoreError)
    assert store.failed("a")
    await store.flush(["b"])
    await store.rewind("a", NOTHING)
    await store.write("a", 0, [b"more"])
    assert await told(store, "a") == NOTHING.add(0, 4)
    await store.aclose()


async def test_what_is_wanted_again_while_it_is_closed_counts_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first number is open until the thread has closed it."""
    store, began, gate = FileStore(str(tmp_path), max_open=2), threading.Event(), threading.Event()
    await store.write("a", 0, [b"1"])
    await store.flush(["a"])
    number, real = store._growing.use("a").fd, os.close

    def late(fd: int) -> None:
        if fd == number and not began.is_set():
            began.set()
            assert gate.wait(10)
        real(fd)

    with monkeypatch.context() as patch, trio.fail_after(10):
        patch.setattr(os, "close", late)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.release, ["a"])
            await trio.to_thread.run_sync(began.wait, 10)
            await store.write("a", 1, [b"1"])
            nursery.start_soon(store.write, "b", 0, [b"2"])
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert open_files(tmp_path) == 2
            assert store.unflushed("b") == 0
            gate.set()
    assert store.unflushed("b") == 1
    await store.aclose()


acts = st.sampled_from(["write", "check", "pause", "confirm", "discard", "release"])
lives = st.lists(st.lists(acts, min_size=4, max_size=12), min_size=3, max_size=6)


@given(most=st.integers(1, 2), lives=lives, whole=st.booleans())
@settings(max_examples=60, deadline=None)
async def test_many_uploads_at_once_share_few_descriptors(
    most: int, lives: list[list[str]], whole: bool
) -> None:
    """Whatever each does, and however they overlap: nobody waits for ever, nothing is mixed."""
    with TemporaryDirectory() as folder:
        store, truth = FileStore(folder, max_open=most), dict.fromkeys(range(len(lives)), b"")

        async def live(number: int, acts: list[str]) -> None:
            id, held, waiting = str(number), NOTHING, b""
            for count, act in enumerate(acts):
                data, at = f"{number}{count}".encode() * 5, len(truth[number])
                match act:
                    case "write" if not waiting:
                        await store.write(id, at, [data], whole=whole)
                        truth[number] += data
                    case "check":
                        await store.write(id, at + len(waiting), [data], provisional=True)
                        waiting += data
                    case "confirm":
                        store.confirm(id)
                        truth[number], waiting = truth[number] + waiting, b""
                    case "discard":
                        await store.discard(id, at)
                        waiting = b""
                    case "release":
                        await store.release([id])
                    case "pause":  # others come, and want its descriptor
                        await trio.testing.wait_all_tasks_blocked()
                assert open_files(Path(folder)) <= most
                if act != "release":  # as the group commit does, and others wait for it
                    newly = await told(store, id)
                    assert not isinstance(newly, StoreError)
                    held = held.union(newly)
                    assert held == NOTHING.add(0, len(truth[number]))

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for number, acts in enumerate(lives):
                    nursery.start_soon(live, number, acts)
        for number, data in truth.items():
            there = await store.read(str(number), 0, 1000)
            assert there[: len(data)] == data
        await store.aclose()
        assert open_files(Path(folder)) == 0
