"""The system calls of FileStore that can block: each function here runs in a worker thread.

Nothing here knows of trio or of uploads.  Failures are OSError, told by ``told``.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from uploadd import errors
from uploadd.errors import StoreError
from uploadd.store.contract import Bytes

IOV_MAX: Final = 1024
_libc = ctypes.CDLL(None, use_errno=True)
_START_WRITE: Final = 2  # SYNC_FILE_RANGE_WRITE
_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_OURS: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ESTALE})

BEFORE: Final = "a flush has failed before"
"""What is wrong with a file whose bytes nobody can vouch for any more."""


def told(error: OSError, doing: str) -> StoreError:
    """*error* as a peer may hear it: no paths, but what and why.  *error* is its cause."""
    name = errno.errorcode.get(error.errno or 0, "unknown error")
    if error.errno in _ROOM:
        made: StoreError = errors.NoSpace(f"no room on the disk while {doing} ({name})")
    elif error.errno in _OURS:
        made = errors.NotWritable(f"the store does not take writes: {doing} ({name})")
    else:
        made = errors.StoreError(f"the disk failed while {doing} ({name})")
    made.__cause__ = error  # not every one of them is raised here: a flush only returns them
    return made


def write_all(fd: int, at: int, buffers: Sequence[Bytes]) -> tuple[int, OSError | None]:
    """Write *buffers* at *at*; how many bytes went in, and what stopped it if not all did.

    A short write is gone on with; one that takes nothing at all counts as no room.
    """
    done = 0
    views = [memoryview(data) for data in buffers if len(data)]
    while views:
        try:
            count = os.pwritev(fd, views[:IOV_MAX], at + done)
        except OSError as error:
            return done, error
        if count == 0:
            return done, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done += count
        while views and count >= len(views[0]):
            count -= len(views.pop(0))
        if count:
            views[0] = views[0][count:]
    return done, None


def start_writeback(fd: int) -> None:
    """Ask the kernel to begin writing the dirty pages of *fd*; an aid, never a promise."""
    # Its errors do not count: fdatasync reports every one of them again.
    _libc.sync_file_range(
        ctypes.c_int(fd), ctypes.c_int64(0), ctypes.c_int64(0), ctypes.c_uint(_START_WRITE)
    )


def sync_data(fds: Sequence[int]) -> list[OSError | None]:
    """fdatasync each, write-back of all started first; what went wrong, one by one."""
    if len(fds) > 1:
        for fd in fds:
            start_writeback(fd)
    outcome: list[OSError | None] = []
    for fd in fds:
        try:
            os.fdatasync(fd)
        except OSError as error:
            outcome.append(error)
        else:
            outcome.append(None)
    return outcome


def sync_filesystem(fd: int, count: int) -> list[OSError | None]:
    """One syncfs for all *count* files on the file system of *fd*; an error concerns all."""
    if _libc.syncfs(ctypes.c_int(fd)) == 0:
        return [None] * count
    code = ctypes.get_errno()
    return [OSError(code, os.strerror(code))] * count


def has_nameless_files(folder: int) -> bool:
    """Whether the file system has O_TMPFILE; network and user-space ones often do not."""
    try:
        os.close(os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=folder))
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            return False
        if error.errno not in _ROOM:  # a full disk is no reason not to start
            raise
    return True


def link_open_file(fd: int, path: str, root: int) -> None:
    """Give the open file *fd* the name *path* below *root*; raises FileExistsError."""
    # src_dir_fd makes os.link use linkat(AT_SYMLINK_FOLLOW); without it link(2) gives EXDEV.
    os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=root, dst_dir_fd=root, follow_symlinks=True)


def make_root(path: str) -> None:
    """Make the folder *path* and those above it, durably; one that is there is left alone."""
    path = os.path.abspath(path)
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    make_root(above)
    os.mkdir(path)
    fd = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folders(path: str, root: int, made: set[str]) -> str:
    """Make the folders that *path* needs below *root*; return the innermost, "" for the root.

    Those that were not there are added to *made*.  A symbolic link on the way raises
    NotADirectoryError.
    """
    at = ""
    for part in path.split("/")[:-1]:
        at = f"{at}/{part}" if at else part
        with suppress(FileExistsError):
            os.mkdir(at, 0o755, dir_fd=root)
            made.add(at)
        os.close(open_folder(at, root))
    return at


def mount_of(fd: int) -> str:
    """Which mount an open file lies on: linking from one to another is not possible."""
    with open(f"/proc/self/fdinfo/{fd}") as file:
        return next(line for line in file if line.startswith("mnt_id:"))


def open_folder(path: str, root: int) -> int:
    """A descriptor of the folder *path* below *root*; a link as its last part is refused."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path or ".", flags, dir_fd=root)


def sync_folder(path: str, root: int) -> None:
    """Make the entries of a folder durable; for the root itself no descriptor is needed."""
    if not path:
        os.fsync(root)
        return
    fd = open_folder(path, root)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def find_file(path: str, root: int) -> os.stat_result | None:
    """What lies under *path*, links not followed; None when nothing does."""
    try:
        return os.stat(path, dir_fd=root, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
