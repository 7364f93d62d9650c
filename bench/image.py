"""An ext4 with a journal in a file: kept from run to run, made anew for each scenario.

Every block of it was written before, since one that is written for the first time costs the disk
around it more; and its bytes are not cached a second time around it (``--direct-io``).
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

from bench.machine import find
from bench.mounts import filesystem, mounted

BLOCK = 8 << 20
OPTIONS = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
KEEP_BLOCKS = {"UNIX_IO_NOZEROOUT": "1"}
"""mkfs writes zeros itself, or the file system around it would take the blocks for unwritten."""


class Unmountable(Exception):
    """It cannot be mounted, or not be unmounted; the text says why."""


class Image:
    """A file of *size* bytes in *folder*, where nobody else can write, and where it is mounted."""

    def __init__(self, folder: Path, size: int) -> None:
        self._file, self._size = folder / f"ext4-{size >> 20}", size
        self.point = folder / "mounted"

    def impossible(self) -> str:
        """Why it cannot be had here, if so."""
        if os.geteuid() != 0:
            return "mounting needs root"
        for program, package in (("mkfs.ext4", "e2fsprogs"), *((p, "mount") for p in MOUNTING)):
            if find(program) is None:
                return f"{program} is not here: apt install {package}"
        return ""

    def there(self) -> bool:
        """Whether it was made by an earlier run, whole."""
        try:
            told = self._file.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISREG(told.st_mode) and told.st_size == self._size

    def renew(self) -> None:
        """Mount an empty file system, whatever was mounted.  Raises Unmountable."""
        try:
            self.unmount()
            self.point.mkdir(exist_ok=True)
            if not self.there():
                self._fill()
            _run("mkfs.ext4", "-q", "-F", "-O", "has_journal", "-E", OPTIONS, str(self._file))
            device = _run("losetup", "--find", "--show", "--direct-io=on", str(self._file))
            try:
                _run("mount", device, str(self.point))
            finally:
                _run("losetup", "--detach", device)  # when it is unmounted, if it is mounted
        except OSError as error:
            raise Unmountable(f"cannot mount: {error}") from error

    def unmount(self) -> None:
        """Also what a run left that was killed.  Raises Unmountable."""
        while filesystem(mounted(), str(self.point)):
            try:
                _run("umount", str(self.point))
            except Unmountable as error:
                raise Unmountable(f"{error}; who holds it: fuser -vm {self.point}") from error
        for file in self.point.parent.glob("ext4-*") if os.geteuid() == 0 else ():
            found = _run("losetup", "--noheadings", "--output", "NAME", "--associated", str(file))
            for device in found.split():
                _run("losetup", "--detach", device)

    def give_up(self) -> None:
        """Unmount it if that is possible; what was measured is worth more than this."""
        try:
            self.unmount()
        except Unmountable as error:
            print(error, file=sys.stderr)

    def _fill(self) -> None:
        block, begun = bytes(BLOCK), self._file.with_name(f"{self._file.name}.begun")
        # Over what an interrupted run has left: nothing is removed.
        fd = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            for _ in range(self._size // BLOCK):
                os.write(fd, block)
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
        begun.rename(self._file)  # whole, whoever is killed


MOUNTING = ("mount", "umount", "losetup")


def _run(*command: str) -> str:
    path = find(command[0])
    assert path is not None, command[0]
    ran = subprocess.run(
        [path, *command[1:]], capture_output=True, text=True, env=os.environ | KEEP_BLOCKS
    )
    if ran.returncode != 0:
        raise Unmountable(ran.stderr.strip() or f"{command[0]} failed: {ran.returncode}")
    return ran.stdout.strip()
