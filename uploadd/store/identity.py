"""What makes a file the one that was published: its inode, and a mark that tells it from the next
file with that number.

The mark is the handle by which the file system itself knows the file (as NFS does); where it gives
none, the moment of its birth; where it does not know that either, None.  All of them survive
chmod, chown, touch, link and rename, and a restart.  Blocking; fails with OSError.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from typing import Final

from uploadd.protocol.upload import Identity
from uploadd.store import disk

_libc = ctypes.CDLL(None, use_errno=True)
_AT_EMPTY_PATH: Final = 0x1000
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_MAX_HANDLE: Final = 128
_STATX_BTIME: Final = 0x800
_BORN: Final = b"born "  # no handle begins like this
_BIRTH: Final = struct.Struct("=80x q I")  # seconds and nanoseconds, 80 bytes into struct statx


def of_open_file(fd: int, found: os.stat_result | None = None) -> Identity:
    """The identity of the open file *fd*; *found*: what fstat(2) says of it, if that is known."""
    return Identity((found or os.fstat(fd)).st_ino, _mark("", fd))


def of_path(path: str, folder: int) -> Identity | None:
    """The identity of the file *path* in *folder*, links not followed; None when none is there."""
    found = disk.find_file(path, folder)
    return Identity(found.st_ino, _mark(path, folder)) if found is not None else None


def is_at(path: str, root: int, wanted: Identity, length: int | None = None) -> bool:
    """Whether the file *path* below *root* is the one *wanted*, *length* bytes long if given.

    Links are not followed.
    """
    found = disk.find_file(path, root)
    return found is not None and _is_same(found, root, wanted, length, path, root)


def is_open_as(fd: int, root: int, wanted: Identity, length: int) -> bool:
    """Whether the open file *fd* is the one that is *wanted*, *length* bytes long."""
    return _is_same(os.fstat(fd), root, wanted, length, "", fd)


def _is_same(
    found: os.stat_result, root: int, wanted: Identity, length: int | None, path: str, folder: int
) -> bool:
    """Whether *path* below *folder*, of which *found* is told, is the one *wanted*."""
    ours = (wanted.inode, os.fstat(root).st_dev, found.st_size if length is None else length)
    if not stat.S_ISREG(found.st_mode) or (found.st_ino, found.st_dev, found.st_size) != ours:
        return False
    if wanted.mark is None:  # remembered by an older daemon: it cannot be told apart further
        return True
    # The kind that was remembered, whatever this kernel could tell of a new file.
    tell = _birth if wanted.mark.startswith(_BORN) else _handle
    return wanted.mark == tell(path, folder)


def _mark(path: str, folder: int) -> bytes | None:
    return _handle(path, folder) or _birth(path, folder)


def _handle(path: str, folder: int) -> bytes | None:
    """name_to_handle_at(2); None where the file system has no handles."""
    handle = ctypes.create_string_buffer(struct.pack("=Ii", _MAX_HANDLE, 0), 8 + _MAX_HANDLE)
    mount = ctypes.c_int()
    flags = 0 if path else _AT_EMPTY_PATH
    name = os.fsencode(path)
    if _libc.name_to_handle_at(folder, name, handle, ctypes.byref(mount), flags) != 0:
        return None
    size, kind = struct.unpack_from("=Ii", handle)
    return struct.pack("=i", kind) + handle.raw[8 : 8 + size]


def _birth(path: str, folder: int) -> bytes | None:
    """When it was made, by statx(2); None where the file system does not remember that."""
    told = ctypes.create_string_buffer(256)
    flags = _AT_SYMLINK_NOFOLLOW if path else _AT_EMPTY_PATH
    if _libc.statx(folder, os.fsencode(path), flags, ctypes.c_uint(_STATX_BTIME), told) != 0:
        return None
    (known,) = struct.unpack_from("=I", told)
    seconds, nanoseconds = _BIRTH.unpack_from(told)
    return b"%b%d.%09d" % (_BORN, seconds, nanoseconds) if known & _STATX_BTIME else None
