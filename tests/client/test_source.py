"""Where bytes come from: each source gives what it was made of, and says so when it cannot."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.client.server import Pieces
from uploadd.client.errors import CannotRewind, LocalFileChanged, LocalReadError
from uploadd.client.source import READ, Source, StreamSource, Uploadable, open_source

DATA = bytes(range(256)) * 20


async def read_all(source: Source, at: int = 0, count: int = 1000) -> bytes:
    """Everything from *at* on."""
    out = b""
    while data := await source.read(at + len(out), count):
        assert len(data) <= count
        out += data
    return out


async def content(what: Uploadable, length: int | None = None) -> tuple[int | None, bytes]:
    """The length that it says at first, and what it gives."""
    async with open_source(what, length) as source:
        return source.length, await read_all(source)


async def test_a_path_a_file_and_a_descriptor_are_read_as_they_are(tmp_path: Path) -> None:
    """From where they stand, any number of times and in any order."""
    path = tmp_path / "file"
    path.write_bytes(DATA)
    assert await content(path) == (len(DATA), DATA)
    assert await content(str(path)) == (len(DATA), DATA)
    with path.open("rb") as file:
        file.read(100)
        assert await content(file) == (len(DATA) - 100, DATA[100:])
        async with open_source(file, None) as source:
            assert await source.read(50, 10) == DATA[150:160]
            assert await source.read(0, 10) == DATA[100:110]
    fd = os.open(path, os.O_RDONLY)
    os.lseek(fd, 7, os.SEEK_SET)
    assert await content(fd) == (len(DATA) - 7, DATA[7:])
    os.close(fd)


async def test_objects_that_only_look_like_files_are_read_through(tmp_path: Path) -> None:
    """A gzip file has the descriptor of what it unpacks; that is not what it contains."""
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(DATA))
    with gzip.open(path) as file:
        assert await content(file) == (len(DATA), DATA)  # type: ignore[arg-type]  # as good as one
    inside = io.BytesIO(DATA)
    inside.seek(9)
    assert await content(inside) == (len(DATA) - 9, DATA[9:])


async def test_what_cannot_seek_is_read_once(tmp_path: Path) -> None:
    """A pipe by its descriptor, as a file object, and under a name; the length is what was said."""
    for length in (None, len(DATA)):
        fd, write = os.pipe()
        os.write(write, DATA)
        os.close(write)
        assert await content(fd, length) == (length, DATA)
        os.close(fd)

        fd, write = os.pipe()
        os.write(write, DATA)
        os.close(write)
        with open(fd, "rb") as file:
            assert await content(file, length) == (length, DATA)

    os.mkfifo(tmp_path / "fifo")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, (tmp_path / "fifo").write_bytes, DATA)
        assert await content(tmp_path / "fifo") == (None, DATA)


async def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    """And what to do, where there is something."""
    with pytest.raises(LocalReadError, match="no such file"):
        await content(tmp_path / "nothing")
    with pytest.raises(LocalReadError, match="is a directory") as caught:
        await content(tmp_path)
    assert "uploadd put FOLDER" in (caught.value.hint or "")


@pytest.mark.parametrize("change", ["longer", "shorter", "rewritten"])
async def test_a_file_that_changes_is_not_read_on(tmp_path: Path, change: str) -> None:
    """By its size or its time."""
    path = tmp_path / "file"
    path.write_bytes(DATA)
    os.utime(path, ns=(0, 0))
    async with open_source(path, None) as source:
        await source.read(0, 100)
        if change == "rewritten":
            path.write_bytes(DATA)
        else:
            os.truncate(path, len(DATA) + (1 if change == "longer" else -1))
        with pytest.raises(LocalFileChanged):
            await source.read(100, 100)


async def test_a_file_that_is_replaced_is_read_to_its_end(tmp_path: Path) -> None:
    """It is the old one that was asked for, and it is still there for us."""
    path = tmp_path / "file"
    path.write_bytes(DATA)
    async with open_source(path, None) as source:
        (tmp_path / "new").write_bytes(b"new")
        os.replace(tmp_path / "new", path)
        assert await read_all(source) == DATA


@given(
    piece=st.integers(1, 700),
    reads=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(1, 900)), max_size=30),
)
def test_a_stream_gives_again_what_was_not_released(
    piece: int, reads: list[tuple[float, float, int]]
) -> None:
    """From any position between what is durable and what was read, however it was cut."""

    async def main() -> None:
        async with open_source(Pieces(DATA, piece), None) as source:
            low = high = 0
            for release, position, count in reads:
                low += int((high - low) * release)
                source.release(low)
                at = low + int((high - low) * position)
                data = await source.read(at, count)
                assert data == DATA[at : at + len(data)]
                assert data or at == len(DATA)
                high = max(high, at + len(data))
            assert await read_all(source, low) == DATA[low:]
            assert source.length == len(DATA)

    trio.run(main)


async def test_a_stream_does_not_come_twice() -> None:
    """What was released is gone."""
    async with open_source(Pieces(DATA), None) as source:
        await source.read(0, 1000)
        source.release(60)
        assert await source.read(60, 10) == DATA[60:70]
        with pytest.raises(CannotRewind):
            await source.read(59, 10)


async def test_a_stream_can_be_skipped_without_being_kept() -> None:
    """To resume a pipe that is played again."""

    class Endless:
        given = 0

        def __aiter__(self) -> Endless:
            return self

        async def __anext__(self) -> bytes:
            await trio.lowlevel.checkpoint()
            self.given += 1 << 16
            return self.given.to_bytes(8) * (1 << 13)

    source = StreamSource(Endless(), None)
    offset = 50 * READ
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.pull)
        source.release(offset)
        assert (await source.read(offset, 8)) == (offset + (1 << 16)).to_bytes(8)
        assert source.kept <= 2 * READ
        nursery.cancel_scope.cancel()


async def test_a_stream_is_not_read_far_ahead() -> None:
    """What is kept is what was read and is not durable, and little more."""
    pieces = Pieces(bytes(20 * READ), READ // 4)
    source = StreamSource(pieces, None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.pull)
        for at in range(0, 8 * READ, READ // 8):
            await source.read(at, READ // 8)
            await trio.testing.wait_all_tasks_blocked()
            source.release(at)
            assert source.kept <= READ // 8 + READ + READ // 4
        nursery.cancel_scope.cancel()
