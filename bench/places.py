"""Where files are put while servers are measured: memory, the disk there is, a disk with a journal.

On tmpfs what was written is removed after each turn, or memory would run out.  On disks nothing is
removed, neither between turns nor between runs: an ext4 without a journal creates files 3 to 6
times slower for minutes after many were deleted.  `clear` removes it, when somebody asks for that.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.image import Image, Unmountable
from bench.mounts import below, filesystem, mount_point, mounted

MIB, GIB = 1 << 20, 1 << 30
LARGE = MIB
"""Bytes of a file that is worth a look at its cache."""
PREFIX = "uploadd-bench-"
"""How the folder of one run begins; the number of its process follows."""
OURS = "uploadd-bench"
"""The folder in a folder that was named: all that runs leave there, and nothing else."""
MARK = "README"
"""What shows that it is ours, when there is anything in it."""


class Unusable(Exception):
    """A place that cannot be written to now; the text says why."""


@dataclass(frozen=True)
class Place:
    """A folder to serve from; without one, *why* says what is missing."""

    name: str
    folder: Path | None
    about: str = ""
    why: str = ""
    on_disk: bool = True
    renew: Callable[[], None] = lambda: None
    """Makes it empty and new, if that takes no deleting.  Raises Unusable."""

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
            with suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False) and entry.stat().st_size >= LARGE:
                    drop_cache(Path(entry.path))


def drop_cache(path: Path) -> None:
    """Have the kernel forget what it knows of a file that is on its disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


TMPFS, DISK, JOURNAL = "tmpfs", "disk", "ext4 with journal"


@contextmanager
def prepared(disk: Path, image_size: int, room: int) -> Iterator[dict[str, Place]]:
    """All places; *disk* is a folder on the disk there is, to which *room* bytes may be written.

    What was written there stays.  Raises Unusable, also while another run has *disk*.
    """
    with _held(disk) as ours, _memory() as tmpfs, _journal(ours, image_size, room) as journal:
        yield {place.name: place for place in (tmpfs, _disk(ours, room), journal)}


def clear(disk: Path) -> None:
    """Remove what runs left in *disk*.  Raises Unusable."""
    with _held(disk) as ours:
        try:
            Image(ours, 0).unmount()
            if points := below(mounted(), str(ours)):
                raise Unusable(f"{points[0]} is a mount: unmount it first")
            for entry in ours.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        except (OSError, Unmountable) as error:
            raise Unusable(f"cannot remove what is in {ours}: {error}") from error


@contextmanager
def _held(disk: Path) -> Iterator[Path]:
    """Our folder in *disk*, for one run at a time, where nobody else has put anything."""
    ours = disk.resolve() / OURS
    try:
        ours.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(ours, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise Unusable(f"cannot write to {disk}: {error.strerror}") from error
    try:
        told = os.fstat(fd)
        if told.st_uid != os.geteuid() or stat.S_IMODE(told.st_mode) & 0o022:
            raise Unusable(f"{ours} belongs to others: name another folder with --disk")
        if os.listdir(fd) and not (ours / MARK).exists():
            raise Unusable(f"{ours} is not of a run: name another folder with --disk")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Unusable(f"another run writes to {disk}: wait for its end") from error
        except OSError as error:
            raise Unusable(f"cannot lock {ours}: {error.strerror}") from error
        with suppress(OSError):  # read-only: then nothing else comes here, either
            (ours / MARK).write_text(f"{clearing(disk)} removes all of this.\n")
        yield ours
    finally:
        os.close(fd)


@contextmanager
def _memory() -> Iterator[Place]:
    """A folder in memory, removed afterwards."""
    shm = Path("/dev/shm")
    if filesystem(mounted(), str(shm)) != "tmpfs":
        yield Place(TMPFS, None, why="no tmpfs at /dev/shm", on_disk=False)
        return
    for entry in shm.iterdir():
        if _of_a_killed_run(entry):
            shutil.rmtree(entry, ignore_errors=True)
    try:
        folder = _folder(shm)
    except OSError as error:
        yield Place(TMPFS, None, why=f"cannot write to {shm}: {error.strerror}", on_disk=False)
        return
    try:
        yield Place(TMPFS, folder, "tmpfs: memory", on_disk=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _of_a_killed_run(entry: Path) -> bool:
    number = re.fullmatch(PREFIX + r"(\d+)-\w+", entry.name)
    if number is None or Path("/proc", number[1]).exists():
        return False
    with suppress(FileNotFoundError):
        return entry.lstat().st_uid == os.geteuid()
    return False


def _folder(where: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=where))
    folder.chmod(0o755)
    return folder


def _disk(ours: Path, room: int) -> Place:
    if why := _in_memory(ours) or _no_room(ours, room):
        return Place(DISK, None, why=why)
    try:
        folder = _folder(ours)
    except OSError as error:
        return Place(DISK, None, why=f"cannot write to {ours}: {error.strerror}")
    journal, kind = "", _kind(ours)
    if kind == "ext4":
        journal = " with a journal" if _has_journal(ours) else " without a journal"
    return Place(DISK, folder, f"the disk there is: {kind}{journal}")


def _kind(folder: Path) -> str:
    mounts = mounted()
    return filesystem(mounts, mount_point(mounts, str(folder)))


def _in_memory(ours: Path) -> str:
    if _kind(ours) != "tmpfs":
        return ""
    return f"{ours.parent} is on a tmpfs: name another with --disk"


def _has_journal(folder: Path) -> bool:
    """Of an ext4: whether a journal of its device runs."""
    number = folder.stat().st_dev
    device = os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    running = "/proc/fs/jbd2"
    names = os.listdir(running) if os.path.isdir(running) else []
    return any(name.startswith(f"{os.path.basename(device)}-") for name in names)


def _no_room(ours: Path, room: int) -> str:
    free = shutil.disk_usage(ours).free
    if free >= room:
        return ""
    return (
        f"{free / GIB:.1f} GiB free in {ours.parent}, {room / GIB:.1f} needed; what earlier runs "
        f"left goes by {clearing(ours.parent)}, some minutes before the next run"
    )


def clearing(disk: Path) -> str:
    """What to type to remove what runs left in *disk*."""
    return f"make bench ARGS={shlex.quote(f'--clear --disk {shlex.quote(str(disk))}')}"


@contextmanager
def _journal(ours: Path, size: int, room: int) -> Iterator[Place]:
    """An ext4 with a journal in a file of the disk; *room* bytes are left free beside it."""
    image = Image(ours, size)
    if (
        why := image.impossible()
        or _in_memory(ours)
        or _no_room(ours, room if image.there() else room + size)
    ):
        yield Place(JOURNAL, None, why=why)
        return

    def renew() -> None:
        try:
            image.renew()
        except Unmountable as error:
            raise Unusable(str(error)) from error

    try:
        try:
            image.renew()
        except Unmountable as error:
            yield Place(JOURNAL, None, why=str(error))
            return
        about = f"ext4 with a journal, {size / GIB:.0f} GiB in a file of that disk"
        yield Place(JOURNAL, image.point, about, renew=renew)
    finally:
        image.give_up()
