"""Where files are put while servers are measured: memory, the disk there is, a disk with a journal.

On tmpfs what was written is removed after each turn, or memory would run out.  On disks nothing is
removed, neither between turns nor between runs: an ext4 without a journal creates files 3 to 6
times slower for minutes after many were deleted.  `clear` removes it, when somebody asks for that.
The file system in a file is made anew for each scenario; the file itself is kept.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.machine import find
from bench.mounts import filesystem, mount_point, source

MIB, GIB = 1 << 20, 1 << 30
MOUNTS = Path("/proc/mounts")
LARGE = MIB
"""Bytes of a file that is worth a look at its cache."""


@dataclass(frozen=True)
class Place:
    """A folder to serve from; without one, *why* says what is missing."""

    name: str
    folder: Path | None
    about: str = ""
    why: str = ""
    on_disk: bool = True
    renew: Callable[[], None] = lambda: None
    """Makes it empty and new, if that takes no deleting."""

    def settle(self) -> None:
        """Have nothing in flight that somebody else left behind."""
        if self.on_disk:
            os.sync()

    def forget(self, folder: Path) -> None:
        """Give back the memory in which large files of *folder* are cached.

        More and more of it would be taken turn by turn, and a virtual machine may have to get that
        from its host first: then this is measured instead of the disk.
        """
        self.settle()
        for entry in os.scandir(folder):
            if entry.is_file(follow_symlinks=False) and entry.stat().st_size >= LARGE:
                fd = os.open(entry.path, os.O_RDONLY)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(fd)


TMPFS, DISK, JOURNAL = "tmpfs", "disk", "ext4 with journal"


PREFIX = "uploadd-bench-"
IMAGE, POINT = f"{PREFIX}ext4", f"{PREFIX}mounted"
CLEAR = "make bench ARGS=--clear"


class Unusable(Exception):
    """A folder that no run can write to now; the text says why."""


@contextmanager
def prepared(disk: Path, image_size: int, room: int) -> Iterator[dict[str, Place]]:
    """All places; *disk* is a folder on the disk there is, of which *room* bytes may be needed.

    What was written there stays.  Raises Unusable, also while another run has *disk*.
    """
    with _held(disk), memory() as tmpfs, _loop(disk, image_size, room) as loop:
        yield {place.name: place for place in (tmpfs, _disk(disk, room), loop)}


def clear(disk: Path) -> int:
    """Remove what runs left in *disk*; how many bytes that were.  Raises Unusable."""
    if not disk.exists():
        return 0
    with _held(disk):
        size = left(disk)
        try:
            _unmount(disk / POINT)
            for entry in disk.glob(f"{PREFIX}*"):
                if entry.is_dir():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        except (OSError, subprocess.CalledProcessError) as error:
            raise Unusable(f"cannot remove it: {_told(error)}") from error
        return size


def left(disk: Path) -> int:
    """Bytes that runs left in *disk*, as far as its file system goes."""
    device, size = disk.stat().st_dev, 0
    for entry in disk.glob(f"{PREFIX}*"):
        for folder, _, names in os.walk(entry):
            if os.stat(folder).st_dev == device:
                size += sum(_blocks(os.path.join(folder, name)) for name in names)
        size += _blocks(entry)
    return size


def _blocks(path: str | Path) -> int:
    return os.lstat(path).st_blocks * 512


@contextmanager
def _held(disk: Path) -> Iterator[None]:
    """One run at a time: two would measure each other, and share one image."""
    try:
        disk.mkdir(parents=True, exist_ok=True)
        fd = os.open(disk, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise Unusable(f"cannot write to {disk}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise Unusable(f"another run writes to {disk}: wait for its end") from error
    try:
        yield
    finally:
        os.close(fd)


@contextmanager
def memory() -> Iterator[Place]:
    """A folder in memory, removed afterwards."""
    shm = Path("/dev/shm")
    if filesystem(MOUNTS.read_text(), str(shm)) != "tmpfs":
        yield Place(TMPFS, None, why="no tmpfs at /dev/shm", on_disk=False)
        return
    folder = _folder(shm)
    try:
        yield Place(TMPFS, folder, "tmpfs: memory", on_disk=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder(where: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=where))
    folder.chmod(0o755)
    return folder


def _disk(disk: Path, room: int) -> Place:
    mounts = MOUNTS.read_text()
    point = mount_point(mounts, str(disk.resolve()))
    kind = filesystem(mounts, point)
    if kind == "tmpfs":
        return Place(DISK, None, why=f"{disk} is on a tmpfs: name another with --disk")
    if why := _no_room(disk, room):
        return Place(DISK, None, why=why)
    try:
        folder = _folder(disk)
    except OSError as error:
        return Place(DISK, None, why=f"cannot write to {disk}: {error.strerror}")
    journal = ""
    if kind == "ext4":
        device = os.path.basename(source(mounts, point))
        has = any(entry.startswith(f"{device}-") for entry in _list("/proc/fs/jbd2"))
        journal = " with a journal" if has else " without a journal"
    return Place(DISK, folder, f"the disk there is: {kind}{journal}")


def _list(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


def _no_room(disk: Path, room: int) -> str:
    free = shutil.disk_usage(disk).free
    if free >= room:
        return ""
    return (
        f"{free / GIB:.1f} GiB free at {disk}, {room / GIB:.0f} may be needed: what earlier runs "
        f"left there goes by {CLEAR}, some minutes before the next run"
    )


@contextmanager
def _loop(disk: Path, size: int, room: int) -> Iterator[Place]:
    """An ext4 with a journal in a file of the disk, every block of which was written before.

    *room* bytes have to be free beside it.
    """
    image, point = disk / f"{IMAGE}-{size >> 20}", disk / POINT
    if why := _cannot_mount(disk, room if image.exists() else room + size):
        yield Place(JOURNAL, None, why=why)
        return
    try:
        _unmount(point)  # of a run that was killed
        point.mkdir(exist_ok=True)
        if not image.exists():
            _fill(image, size)
        _make(image, point)
    except (OSError, subprocess.CalledProcessError) as error:
        yield Place(JOURNAL, None, why=f"cannot mount: {_told(error)}")
        return
    try:
        about = f"ext4 with a journal, {size >> 30} GiB in a file of that disk"
        yield Place(JOURNAL, point, about, renew=lambda: _remake(image, point))
    finally:
        _unmount(point)


def _unmount(point: Path) -> None:
    if filesystem(MOUNTS.read_text(), str(point.resolve())):
        _run("umount", str(point))


def _make(image: Path, point: Path) -> None:
    options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    _run("mkfs.ext4", "-q", "-F", "-O", "has_journal", "-E", options, str(image))
    _run("mount", "-o", "loop", str(image), str(point))


def _remake(image: Path, point: Path) -> None:
    _run("umount", str(point))
    _make(image, point)


def _cannot_mount(disk: Path, room: int) -> str:
    if os.geteuid() != 0:
        return "mounting needs root"
    for program in ("mkfs.ext4", "mount"):
        if find(program) is None:
            return f"{program} is not here: apt install e2fsprogs mount"
    return _no_room(disk, room)


def _fill(image: Path, size: int) -> None:
    """Write zeros: a block that is written for the first time costs the outer disk more."""
    block, begun = bytes(8 * MIB), image.with_name(f"{image.name}.begun")
    with begun.open("wb", buffering=0) as file:
        for _ in range(size // len(block)):
            file.write(block)
        os.fsync(file.fileno())
    begun.rename(image)  # whole, whoever is killed


def _told(error: OSError | subprocess.CalledProcessError) -> str:
    return str(getattr(error, "stderr", "") or error).strip()


def _run(*command: str) -> None:
    path = find(command[0])
    assert path is not None, command[0]
    subprocess.run([path, *command[1:]], check=True, capture_output=True, text=True)
