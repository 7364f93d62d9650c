"""What a run leaves on a disk, and what goes; places that cannot be had say why."""

from __future__ import annotations

import ctypes
import mmap
import os
import shlex
from pathlib import Path

import pytest

from bench import image
from bench.contenders.server import Server
from bench.harness import Bench
from bench.image import Image, Unmountable
from bench.load.workers import Load, Part
from bench.mounts import filesystem, mounted
from bench.places import (
    DISK,
    JOURNAL,
    MARK,
    MIB,
    OURS,
    TMPFS,
    Place,
    Unusable,
    clear,
    clearing,
    prepared,
)
from bench.scenarios import ANEW, ROOM, SCENARIOS

SMALL = 64 * MIB


def on_a_disk(place: Place) -> Path:
    """Its folder."""
    if place.folder is None:
        pytest.skip(place.why)  # temporary files lie in memory here, or nothing can be mounted
    return place.folder


def test_what_a_run_wrote_to_the_disk_stays_until_it_is_cleared(tmp_path: Path) -> None:
    """And what somebody else has there stays anyway."""
    (tmp_path / "mine").write_text("not of a run")
    for number in (1, 2):
        with prepared(tmp_path, SMALL, MIB) as places:
            (on_a_disk(places[DISK]) / "upload").write_bytes(bytes(MIB))
        assert len(list(tmp_path.glob(f"{OURS}/*/upload"))) == number
    clear(tmp_path)
    assert os.listdir(tmp_path / OURS) == []
    assert (tmp_path / "mine").exists()
    clear(tmp_path)


def test_the_file_system_in_a_file_is_made_anew_and_the_file_is_kept(tmp_path: Path) -> None:
    """By each scenario, and by each run."""
    inodes = set()
    for _ in range(2):
        with prepared(tmp_path, SMALL, MIB) as places:
            folder = on_a_disk(places[JOURNAL])
            assert filesystem(mounted(), str(folder)) == "ext4"
            assert [path.name for path in folder.iterdir()] == ["lost+found"]
            (folder / "upload").write_bytes(bytes(MIB))
            places[JOURNAL].renew()
            assert not (folder / "upload").exists()
            (folder / "upload").write_bytes(bytes(MIB))
        assert filesystem(mounted(), str(folder)) == ""
        inodes |= {path.stat().st_ino for path in (tmp_path / OURS).glob("ext4-64")}
    assert len(inodes) == 1


def test_what_a_run_left_mounted_that_was_killed_is_unmounted(tmp_path: Path) -> None:
    """By the next one, and by who clears."""
    left = Image(tmp_path / OURS, SMALL)
    with prepared(tmp_path, SMALL, MIB) as places:
        on_a_disk(places[JOURNAL])
    left.renew()
    with prepared(tmp_path, SMALL, MIB) as places:
        assert places[JOURNAL].folder is not None
    left.renew()
    (left.point / "upload").write_text("x")
    clear(tmp_path)
    assert filesystem(mounted(), str(left.point)) == ""


def test_nothing_is_removed_through_what_is_still_mounted(tmp_path: Path) -> None:
    """It is held by somebody: that is told, and so it is at the end of a run, which goes on."""
    with prepared(tmp_path, SMALL, MIB) as places:
        folder = on_a_disk(places[JOURNAL])
        (folder / "upload").write_text("x")
        holds = (folder / "upload").open()
    try:
        with pytest.raises(Unusable, match="busy"):
            clear(tmp_path)
        assert (folder / "upload").exists()
    finally:
        holds.close()
    clear(tmp_path)


def test_a_file_that_was_not_filled_to_its_end_is_filled(tmp_path: Path) -> None:
    """Over what is there: nothing is removed."""
    folder = tmp_path / OURS
    folder.mkdir(mode=0o700)
    (folder / MARK).touch()
    begun = folder / "ext4-64.begun"
    begun.write_bytes(bytes(MIB))
    inode = begun.stat().st_ino
    with prepared(tmp_path, SMALL, MIB) as places:
        on_a_disk(places[JOURNAL])
        assert (folder / "ext4-64").stat().st_ino == inode
        assert (folder / "ext4-64").stat().st_size == SMALL


@pytest.mark.parametrize("broken", ["mkfs.ext4", "losetup", "mount"])
def test_what_cannot_be_made_anew_is_a_row_and_the_rest_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """It may work again in the next scenario."""
    run = image._run

    def fails(*command: str) -> str:
        if command[0] == broken:
            raise Unmountable(f"{broken}: out of order")
        return run(*command)

    with prepared(tmp_path, SMALL, MIB) as places:
        on_a_disk(places[JOURNAL])
        bench = Bench("full", places)
        with monkeypatch.context() as patched:
            patched.setattr(image, "_run", fails)
            measured = [place.name for place in bench.at(JOURNAL, DISK, what="things")]
        assert measured == [DISK]
        [row] = bench.rows
        assert row.note == f"not measured: {broken}: out of order"
        assert [place.name for place in bench.at(JOURNAL)] == [JOURNAL]


def test_large_files_on_a_disk_do_not_fill_memory(tmp_path: Path) -> None:
    """Turn by turn they would take pages that a virtual machine has to get first."""
    with prepared(tmp_path, SMALL, MIB) as places:
        here = on_a_disk(places[DISK])
        server = Server("uploadd", "1", 1, folder=here)

        def turn(server: Server) -> Load:
            (here / "large").write_bytes(bytes(8 * MIB))
            assert cached(here / "large") > 0
            return Load(0.0, 1.0, [Part(1, 1)])

        (here / "folder").mkdir()
        Bench("full", places).compare("a thing", places[DISK], [server], turn)
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


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    """Neither does one clear what the other writes."""
    with prepared(tmp_path, SMALL, 1 << 60):
        with pytest.raises(Unusable, match="another run"), prepared(tmp_path, SMALL, MIB):
            pass
        with pytest.raises(Unusable, match="another run"):
            clear(tmp_path)


def test_a_disk_without_room_is_not_measured(tmp_path: Path) -> None:
    """Memory is measured all the same."""
    with prepared(tmp_path, SMALL, 1 << 60) as places:
        assert places[TMPFS].folder is not None
        assert places[DISK].folder is None
        assert places[JOURNAL].folder is None
        assert all(places[name].why for name in (DISK, JOURNAL))


def test_who_has_no_room_is_told_what_to_type(tmp_path: Path) -> None:
    """With the folder that it is about."""
    with prepared(tmp_path, SMALL, 1 << 60) as places:
        if "tmpfs" in (why := places[DISK].why):
            pytest.skip(why)  # temporary files lie in memory here
    assert f"make bench ARGS='--clear --disk {tmp_path}'" in why
    arguments = shlex.split(clearing(Path("/a disk")).partition("ARGS=")[2])
    assert shlex.split(*arguments) == ["--clear", "--disk", "/a disk"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """Not as a traceback."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unusable, match="cannot write to"), prepared(tmp_path / "file", MIB, MIB):
        pass


def test_what_others_could_have_put_there_is_not_used(tmp_path: Path) -> None:
    """A link would have anything formatted, in a folder like /tmp."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / OURS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unusable, match="cannot write to"):
        clear(tmp_path)
    (tmp_path / OURS).unlink()
    (tmp_path / OURS).mkdir()
    (tmp_path / OURS).chmod(0o777)
    with pytest.raises(Unusable, match="belongs to others"):
        clear(tmp_path)
    (tmp_path / OURS).chmod(0o755)
    (tmp_path / OURS / "thesis.txt").write_text("nobody has another")
    with pytest.raises(Unusable, match="not of a run"):
        clear(tmp_path)
    assert (tmp_path / OURS / "thesis.txt").exists()


def test_what_a_scenario_writes_fits_in_the_file_system_in_a_file() -> None:
    """And only scenarios that there are write."""
    assert set(ROOM) <= set(SCENARIOS)
    for name, (short, full) in ROOM.items():
        assert short <= 0.9 * 3
        assert ANEW.get(name, full) <= 0.9 * 8


def test_what_a_killed_run_left_in_memory_is_removed_by_the_next(tmp_path: Path) -> None:
    """And not what one has that lives, nor what only begins like it."""
    names = (f"uploadd-bench-{os.getpid()}-x", "uploadd-bench-notes", f"uploadd-bench-{1 << 30}-x")
    *stay, ended = [Path("/dev/shm") / name for name in names]
    for folder in (*stay, ended):
        folder.mkdir()
    try:
        with prepared(tmp_path, SMALL, MIB):
            assert [folder.exists() for folder in (*stay, ended)] == [True, True, False]
    finally:
        for folder in stay:
            folder.rmdir()


def test_a_device_without_a_mount_is_let_go(tmp_path: Path) -> None:
    """Or the blocks of a file that was removed would stay taken."""
    with prepared(tmp_path, SMALL, MIB) as places:
        on_a_disk(places[JOURNAL])
    file = str(tmp_path / OURS / "ext4-64")
    image._run("losetup", "--find", file)
    assert image._run("losetup", "--associated", file)
    Image(tmp_path / OURS, SMALL).unmount()
    assert image._run("losetup", "--associated", file) == ""
