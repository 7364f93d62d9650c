"""What a run leaves on a disk, and what goes; places that cannot be had say why."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

import pytest

from bench.places import (
    MIB,
    Place,
    Unusable,
    clear,
    left,
    prepared,
)


def test_a_place_that_is_not_there_says_why() -> None:
    """The harness makes a row of it."""
    place = Place("ext4 with journal", None, why="mounting needs root")
    assert place.folder is None
    assert Place("tmpfs", Path("/dev/shm"), on_disk=False).why == ""


def test_what_a_run_wrote_to_a_disk_stays_until_it_is_cleared(tmp_path: Path) -> None:
    """And nothing else in that folder goes with it; the file with a file system is used again."""
    disk = tmp_path / "deep" / "disk"
    for number in range(2):
        with prepared(disk, 64 * MIB, MIB) as places:
            if (here := places["disk"].folder) is None:
                pytest.skip(places["disk"].why)  # temporary files lie in memory here
            (here / "upload").write_bytes(bytes(MIB))
            if journal := places["ext4 with journal"].folder:
                (journal / "upload").write_bytes(bytes(MIB))
                places["ext4 with journal"].renew()
                assert not (journal / "upload").exists()
        assert len(list(disk.glob("*/upload"))) == number + 1
    assert len([path for path in disk.iterdir() if path.is_file()]) == (journal is not None)
    (disk / "mine").write_text("not of a run")
    size = left(disk)
    assert size >= 2 * MIB + (64 * MIB if journal else 0)
    assert clear(disk) == size
    assert [path.name for path in disk.iterdir()] == ["mine"]
    assert left(disk) == clear(disk) == 0


def test_large_files_on_a_disk_do_not_fill_memory(tmp_path: Path) -> None:
    """Turn by turn they would take pages that a virtual machine has to get first."""
    with prepared(tmp_path, 64 * MIB, MIB) as places:
        if (here := places["disk"].folder) is None:
            pytest.skip(places["disk"].why)  # temporary files lie in memory here
        (here / "large").write_bytes(bytes(8 * MIB))
        (here / "folder").mkdir()
        assert cached(here / "large") > 0
        places["disk"].forget(here)
        assert cached(here / "large") == 0
        assert (here / "large").stat().st_size == 8 * MIB


def cached(path: Path) -> int:
    """How many pages of a file are in memory."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        count = -(-len(mapped) // mmap.PAGESIZE)
        told = (ctypes.c_ubyte * count)()
        start = ctypes.c_char.from_buffer(mapped)
        where = ctypes.c_void_p(ctypes.addressof(start))
        assert ctypes.CDLL(None).mincore(where, ctypes.c_size_t(len(mapped)), told) == 0
        del start
        return sum(page & 1 for page in told)


def test_where_nothing_was_there_is_nothing_to_clear(tmp_path: Path) -> None:
    """And no folder is made for it."""
    assert clear(tmp_path / "none") == 0
    assert not (tmp_path / "none").exists()


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    """Neither does one clear what the other writes."""
    with prepared(tmp_path, 64 * MIB, 1 << 60) as places:
        with pytest.raises(Unusable, match="another run"), prepared(tmp_path, 64 * MIB, MIB):
            pass
        with pytest.raises(Unusable, match="another run"):
            clear(tmp_path)
    assert places["disk"].folder is None


def test_a_disk_without_room_is_not_measured(tmp_path: Path) -> None:
    """It says how to make room; memory is measured all the same."""
    with prepared(tmp_path, 64 * MIB, 1 << 60) as places:
        for name in ("disk", "ext4 with journal"):
            assert places[name].folder is None
        assert "make bench ARGS=--clear" in places["disk"].why
        assert places["tmpfs"].folder is not None


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """Not as a traceback."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unusable, match="cannot write to"), prepared(tmp_path / "file", MIB, MIB):
        pass
