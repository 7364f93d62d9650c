"""Short, large and refused writes."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.kit import told
from uploadd.errors import NoSpace, NotWritable, StoreError
from uploadd.protocol.extents import NOTHING
from uploadd.store import disk
from uploadd.store.contract import Publication
from uploadd.store.file import FileStore


@given(
    buffers=st.lists(st.binary(max_size=40) | st.binary(min_size=1, max_size=1), max_size=40),
    most=st.lists(st.integers(1, 50), min_size=1),
)
@settings(max_examples=50)
def test_short_writes_are_gone_on_with(buffers: list[bytes], most: list[int]) -> None:
    """However few bytes each call takes, the file has all of them in order."""
    limits = iter(most * 1000)
    real = os.pwritev

    def few(fd: int, views: list[memoryview], at: int) -> int:
        return real(fd, [memoryview(b"".join(views))[: next(limits)]], at)

    fd = os.memfd_create("test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwritev", few)
        assert disk.write_all(fd, 5, buffers) == (sum(map(len, buffers)), None)
    assert os.pread(fd, 5000, 0)[5:] == b"".join(buffers)
    os.close(fd)


async def test_more_buffers_than_one_call_takes_are_written(root: Path) -> None:
    """IOV_MAX is 1024; empty ones do not count."""
    store = FileStore(str(root))
    buffers = [bytes([number % 256]) * (number % 3) for number in range(5 * disk.IOV_MAX)]
    whole = b"".join(buffers)
    await store.write("a", 0, buffers)
    assert await told(store, "a") == NOTHING.add(0, len(whole))
    assert await store.read("a", 0, len(whole) + 1) == whole
    await store.aclose()


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [10_000, 100_000])
async def test_a_full_disk_takes_a_prefix_and_counts_it(root: Path, size: int) -> None:
    """Here the limit on the size of a file; small writes and large ones."""
    store = FileStore(str(root))
    data = os.urandom(size)
    with _largest_file(8192):
        with pytest.raises(NoSpace):
            await store.write("a", 0, [data[:5000], data[5000:]])
        assert store.unflushed("a") == 8192
        assert await told(store, "a") == NOTHING.add(0, 8192)
        with pytest.raises(NoSpace):
            await store.write("a", 8192, [data[8192:]])
    await store.write("a", 8192, [data[8192:]])
    assert await told(store, "a") == NOTHING.add(8192, size)
    assert await store.read("a", 0, size) == data
    await store.aclose()


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
async def test_a_disk_that_takes_no_writes_is_told_apart_from_a_full_one(
    root: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """NotWritable: making room would not help."""
    store = FileStore(str(root))

    def refuse(*args: Any) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "pwritev", refuse)
    with pytest.raises(NotWritable):
        await store.write("a", 0, [b"data"])
    await store.aclose()


@pytest.mark.parametrize("call", ["pwritev", "fdatasync", "link"])
async def test_behind_what_a_peer_hears_is_what_the_disk_said(
    root: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Whether it was raised where it happened, or told by a flush of many files."""
    store, said = FileStore(str(root)), OSError(errno.EIO, os.strerror(errno.EIO))

    def fail(*args: Any, **kwargs: Any) -> None:
        raise said

    monkeypatch.setattr(os, call, fail)
    try:
        await store.write("a", 0, [b"data"], whole=call == "link")
        outcome = (await store.flush(["a"], ["a"]))["a"]
        if call == "link":
            outcome = (await store.publish([Publication("a", "a")]))["a"]
        assert isinstance(outcome, StoreError)
    except StoreError as error:
        outcome = error
    assert outcome.__cause__ is said
    await store.aclose()
