"""Where files are put while servers are measured: memory, the disk there is, a disk with a journal.

On tmpfs what was written is removed after each turn, or memory would run out.  On disks nothing is
removed while something is measured: an ext4 without a journal creates files 3 to 6 times slower for
minutes after many were deleted.  The one in a file is made anew for each scenario.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.machine import find

MIB = 1 << 20


@dataclass(frozen=True)
class Place:
    """A folder to serve from; without one, *why* says what is missing."""

    name: str
    folder: Path | None
    about: str = ""
    why: str = ""
    on_disk: bool = True
    renew: Callable[[], None] = lambda: None
    """Makes it empty and new, if it can be."""

    def settle(self) -> None:
        """Have nothing in flight that somebody else left behind."""
        if self.on_disk:
            os.sync()


TMPFS, DISK, JOURNAL = "tmpfs", "disk", "ext4 with journal"


@contextmanager
def prepared(disk: Path, image_size: int) -> Iterator[dict[str, Place]]:
    """All places, removed afterwards; *disk* is a folder on the disk there is."""
    with memory() as tmpfs, _folder(disk) as folder, _loop(folder, image_size) as loop:
        yield {place.name: place for place in (tmpfs, _disk(folder), loop)}


@contextmanager
def memory() -> Iterator[Place]:
    """A folder in memory."""
    shm = Path("/dev/shm")
    if filesystem(Path("/proc/mounts").read_text(), str(shm)) != "tmpfs":
        yield Place(TMPFS, None, why="no tmpfs at /dev/shm", on_disk=False)
        return
    with _folder(shm) as folder:
        yield Place(TMPFS, folder, "tmpfs: memory", on_disk=False)


@contextmanager
def _folder(where: Path) -> Iterator[Path]:
    where.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="uploadd-bench-", dir=where))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _disk(folder: Path) -> Place:
    mounts = Path("/proc/mounts").read_text()
    point = mount_point(mounts, str(folder.resolve()))
    kind = filesystem(mounts, point)
    if kind == "tmpfs":
        return Place(DISK, None, why=f"{folder} is on a tmpfs: name another with --disk")
    journal = ""
    if kind == "ext4":
        device = os.path.basename(source(mounts, point))
        has = any(entry.startswith(f"{device}-") for entry in _list("/proc/fs/jbd2"))
        journal = " with a journal" if has else " without a journal"
    return Place(DISK, folder, f"the disk there is: {kind}{journal}")


def _list(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


@contextmanager
def _loop(folder: Path, size: int) -> Iterator[Place]:
    """An ext4 with a journal in a file of the disk, every block of which was written before."""
    if why := _cannot_mount(folder, size):
        yield Place(JOURNAL, None, why=why)
        return
    image, point = folder / "ext4", folder / "mounted"
    point.mkdir()
    try:
        _fill(image, size)
        _make(image, point)
    except (OSError, subprocess.CalledProcessError) as error:
        told = str(getattr(error, "stderr", "") or error).strip()
        yield Place(JOURNAL, None, why=f"cannot mount: {told}")
        return
    try:
        about = f"ext4 with a journal, {size >> 30} GiB in a file of that disk"
        yield Place(JOURNAL, point, about, renew=lambda: _remake(image, point))
    finally:
        _run("umount", str(point))


def _make(image: Path, point: Path) -> None:
    options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    _run("mkfs.ext4", "-q", "-F", "-O", "has_journal", "-E", options, str(image))
    _run("mount", "-o", "loop", str(image), str(point))


def _remake(image: Path, point: Path) -> None:
    _run("umount", str(point))
    _make(image, point)


def _cannot_mount(folder: Path, size: int) -> str:
    if os.geteuid() != 0:
        return "mounting needs root"
    for program in ("mkfs.ext4", "mount"):
        if find(program) is None:
            return f"{program} is not here: apt install e2fsprogs mount"
    if shutil.disk_usage(folder).free < 3 * size:
        return f"less than {3 * size >> 30} GiB free at {folder}"
    return ""


def _fill(image: Path, size: int) -> None:
    """Write zeros: a block that is written for the first time costs the outer disk more."""
    block = bytes(8 * MIB)
    with image.open("wb", buffering=0) as file:
        for _ in range(size // len(block)):
            file.write(block)
        os.fsync(file.fileno())


def _run(*command: str) -> None:
    path = find(command[0])
    assert path is not None, command[0]
    subprocess.run([path, *command[1:]], check=True, capture_output=True, text=True)


# --- what /proc/mounts tells --------------------------------------------------------------------


def mounts_of(mounts: str) -> dict[str, tuple[str, str]]:
    """Mount points with source and type; of several on one point the last, which is on top."""
    found = {}
    for line in mounts.splitlines():
        source, point, kind = line.split()[:3]
        name = re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), point)
        found[name] = (source, kind)
    return found


def mount_point(mounts: str, path: str) -> str:
    """Where the file system of *path* is mounted."""
    points = [
        point
        for point in mounts_of(mounts)
        if path == point or path.startswith(point.rstrip("/") + "/")
    ]
    return max(points, key=len)


def filesystem(mounts: str, point: str) -> str:
    """Its type; empty when nothing is mounted there."""
    return mounts_of(mounts).get(point, ("", ""))[1]


def source(mounts: str, point: str) -> str:
    """Its device."""
    return mounts_of(mounts).get(point, ("", ""))[0]
