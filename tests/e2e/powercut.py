"""A disk whose power can be cut: a file in memory, mounted as ext4 with a journal.

EXT4_IOC_SHUTDOWN freezes the file system at once: what is in the page cache only is lost, every
later call fails with EIO, and mounting it again replays the journal as after a power cut.  Not
modelled: torn sectors, and disks that lie about their caches.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Final

SHUTDOWN: Final = (2 << 30) | (4 << 16) | (ord("X") << 8) | 125  # EXT4_IOC_SHUTDOWN
LOSE_JOURNAL: Final = 2  # what the journal has not written yet is lost as well
KEEP_JOURNAL: Final = 1  # names and sizes reach the disk, data only as far as ext4 orders it


class CannotMount(Exception):
    """No such disk can be made here; the text says why."""


class Disk:
    """One disk of *mebibytes*, mounted at `folder`.  Raises CannotMount."""

    def __init__(self, mebibytes: int = 96) -> None:
        where = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self._place = Path(tempfile.mkdtemp(prefix="uploadd-", dir=where))
        self._image = self._place / "image"
        self.folder = self._place / "disk"
        self.folder.mkdir()
        with self._image.open("wb") as file:
            file.truncate(mebibytes << 20)
        try:
            _run("mkfs.ext4", "-q", "-F", "-O", "has_journal", "-E", "nodiscard", self._image)
            self._mount()
        except (OSError, subprocess.CalledProcessError) as error:
            self._remove()
            raise CannotMount(str(getattr(error, "stderr", "") or error).strip()) from error

    def cut(self, how: int = LOSE_JOURNAL) -> None:
        """Cut the power.  Whoever works on the disk gets EIO from now on."""
        fd = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", how))
        finally:
            os.close(fd)

    def turn_read_only(self) -> None:
        """What the kernel does when it finds the file system damaged, to open files as well."""
        _run("mount", "-o", "remount,errors=remount-ro", self.folder)
        loop = _run("findmnt", "-no", "SOURCE", self.folder).strip()
        trigger = Path("/sys/fs/ext4", os.path.basename(loop), "trigger_fs_error")
        trigger.write_text("a test")

    def restore(self) -> None:
        """Power again: what is mounted now is what was on the disk.  Nobody may have it open."""
        _run("umount", self.folder)
        self._mount()
        if not self._works():  # a foreign mount namespace keeps the old one: work on a copy
            _run("umount", self.folder)
            copy = self._image.with_suffix(".copy")
            _run("cp", "--sparse=always", self._image, copy)
            copy.rename(self._image)
            self._mount()

    def _works(self) -> bool:
        fd = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def close(self) -> None:
        """Unmount it and remove every trace."""
        subprocess.run(["umount", self.folder], capture_output=True)
        self._remove()

    def _mount(self) -> None:
        _run("mount", "-o", "loop", self._image, self.folder)

    def _remove(self) -> None:
        self._image.unlink()
        self.folder.rmdir()
        self._place.rmdir()


def _run(*command: str | Path) -> str:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"  # mkfs is there, also for users
    added = {**os.environ, "PATH": path}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=added).stdout
