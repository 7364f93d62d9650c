"""Names on disk: recovery, linking, removing.  Blocking; run in worker threads by FileStore.

Everything here can be killed between any two calls and run again: what is there is looked at,
never assumed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from uploadd import errors
from uploadd.errors import StoreError
from uploadd.protocol import names
from uploadd.protocol.extents import Extents
from uploadd.protocol.upload import Identity, Published
from uploadd.store import disk, identity
from uploadd.store.contract import MediumFailed, Publication
from uploadd.store.reserve import Reserve
from uploadd.store.writes import Opened

COPIED: Final = 8 << 20
"""Bytes that are copied at a time."""


def recover(folder: int, held: Mapping[str, Extents]) -> set[str]:
    """Cut every growing file back to what is held; remove the unknown ones; say what is lost."""
    present = set(os.listdir(folder))
    unlink_all(folder, sorted(present - set(held)))
    lost: set[str] = set()
    for id, extents in held.items():
        if id not in present:
            if extents:
                lost.add(id)
            continue
        try:
            cut_back(folder, id, extents.end)
        except LookupError:
            lost.add(id)
    os.fsync(folder)
    return lost


def cut_back(folder: int, id: str, end: int) -> None:
    """Truncate a growing file to *end*, durably.  Raises LookupError when it is shorter.

    The end is what the ledger says, never the size of the file: a tail may be there that was
    never made durable.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(id, flags, dir_fd=folder)
    except FileNotFoundError:
        if end:
            raise LookupError(id) from None
        return
    try:
        size = os.fstat(fd).st_size
        if size < end:
            raise LookupError(id)
        if size > end:
            os.ftruncate(fd, end)
            os.fsync(fd)
    finally:
        os.close(fd)


def read(folder: int, id: str, fd: int, start: int, end: int) -> bytes:
    """Bytes [start, end) of a growing file, through *fd* if it is open; as many as there are.

    Raises StoreError.
    """
    try:
        opened = fd if fd >= 0 else os.open(id, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
        try:
            return os.pread(opened, end - start, start)
        finally:
            if fd < 0:
                os.close(opened)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise disk.told(error, "reading") from error


def copy(
    folder: int, id: str, start: int, end: int, file: int, at: int, reserve: Reserve
) -> tuple[int, OSError | None]:
    """Copy bytes [start, end) of a growing file to *at* of the open *file*; without a copy where
    the file system can share them.  How many, and what stopped it if not all.
    """

    def copy_some() -> tuple[int, OSError | None]:
        count = min(end - start - done, COPIED)
        return os.copy_file_range(source, file, count, start + done, at + done), None

    done = 0
    try:
        source = os.open(id, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        return done, error
    try:
        while start + done < end:
            count, refusal = reserve.within(min(end - start - done, COPIED), copy_some)
            if count == 0:
                return done, refusal or OSError(errno.EIO, "the source is shorter")
            done += count
    except OSError as error:
        return done, error
    finally:
        os.close(source)
    return done, None


def sync_growing(folder: int) -> None:
    """Make the names of unfinished uploads durable."""
    try:
        os.fsync(folder)
    except OSError as error:
        raise MediumFailed("cannot make the names of unfinished uploads durable") from error


def identities(folder: int, ids: Sequence[str]) -> dict[str, Identity]:
    """Of the growing files that exist."""
    found = {id: identity.of_path(id, folder) for id in ids}
    return {id: one for id, one in found.items() if one is not None}


def publish(
    root: int,
    folder: int,
    wanted: Sequence[Publication],
    opened: Mapping[str, Opened],
    *,
    durable_folders: set[str] | None,
) -> dict[str, Published | StoreError]:
    """Link each under a free name, then sync every folder touched once; *opened* are open already.

    *durable_folders* are those whose own names are known to be durable, and it grows; None
    leaves out all syncing.
    """
    answer: dict[str, Published | StoreError] = {}
    touched: dict[str, None] = {}
    made: set[str] = set()
    for one in wanted:
        try:
            place = _place(root, one, made)
            touched[place] = None
            answer[one.id] = _link(root, folder, one, opened.get(one.id), place)
        except OSError as error:
            answer[one.id] = disk.told(error, "publishing")
    if durable_folders is not None:
        durable_folders -= made  # somebody had removed them
        _sync_folders(root, touched, durable_folders)
    return answer


def _place(root: int, one: Publication, made: set[str]) -> str:
    """The folder for *one*, made if need be; the root when something else has that name."""
    try:
        return disk.make_folders(one.path, root, made)
    except NotADirectoryError:
        return ""


def _link(root: int, folder: int, one: Publication, file: Opened | None, place: str) -> Published:
    """Link *one* under the first free name in *place*; the name it has already, if it has one."""
    if file is not None:
        return _link_opened(root, folder, one, file, place)
    fd = os.open(one.id, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        return _link_opened(root, folder, one, Opened(fd, identity.of_open_file(fd), False), place)
    finally:
        os.close(fd)


def _link_opened(root: int, folder: int, one: Publication, file: Opened, place: str) -> Published:
    if not file.nameless and (there := _linked(root, folder, one, file)) is not None:
        return there
    for path in names.candidates(one.path, one.id):
        if path.rpartition("/")[0] != place:
            continue
        with suppress(FileExistsError):
            disk.link_open_file(file.fd, path, root)
            return Published(path, *file.identity)
    raise FileExistsError(one.path)


def _linked(root: int, folder: int, one: Publication, file: Opened) -> Published | None:
    """The published name that a crash left behind: more links than the growing name explains."""
    stat = os.fstat(file.fd)
    growing = stat.st_nlink > 0 and disk.find_file(one.id, folder) is not None
    if stat.st_nlink <= int(growing):
        return None
    for path in names.candidates(one.path, one.id):
        found = disk.find_file(path, root)
        if found is not None and os.path.samestat(found, stat):  # open, so it is no later one
            return Published(path, *file.identity)
    return None


def roll_forward(
    root: int, folder: int, wanted: Sequence[Publication], nameless: Mapping[str, Identity]
) -> dict[str, Published | StoreError | None]:
    """Finish what was intended when the daemon ended; None where nothing of it exists.

    A nameless file was linked or has vanished: then its name tells, and its identity: another may
    have its number by now.  What lies in growing/ by its id came later, and was cut off.
    """
    answer: dict[str, Published | StoreError | None] = {}
    named = [one for one in wanted if one.id not in nameless]
    growing = [one for one in named if disk.find_file(one.id, folder) is not None]
    answer.update(publish(root, folder, growing, {}, durable_folders=set()))
    for one in wanted:
        if one.id in answer:
            continue
        answer[one.id] = None
        if (known := nameless.get(one.id)) is None:
            continue
        for path in names.candidates(one.path, one.id):
            if identity.is_at(path, root, known):
                _sync_folders(root, {path.rpartition("/")[0]: None}, set())
                answer[one.id] = Published(path, *known)
                break
    return answer


def open_published(root: int, published: Published, length: int) -> int:
    """Open a published file for reading; raises NotFound when it is another one now."""
    try:
        fd = os.open(
            published.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=root
        )
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            raise _changed() from error
        raise disk.told(error, "opening") from error
    if not identity.is_open_as(fd, root, published.identity, length):
        os.close(fd)
        raise _changed()
    return fd


def unpublish(root: int, published: Published, length: int, *, sync: bool) -> None:
    """Remove a published file that is still ours; leave any other alone."""
    if not identity.is_at(published.path, root, published.identity, length):
        return
    with suppress(FileNotFoundError):  # somebody was faster
        os.unlink(published.path, dir_fd=root)
    if sync:
        _sync_folders(root, {published.path.rpartition("/")[0]: None}, set())


def _changed() -> errors.NotFound:
    return errors.NotFound(
        "the file was changed or removed outside of the daemon",
        hint="what is under its name now was not uploaded here and is not served",
    )


def unlink_all(folder: int, ids: Sequence[str]) -> None:
    """Remove growing names; those that are not there are no error."""
    for id in ids:
        with suppress(FileNotFoundError):
            os.unlink(id, dir_fd=folder)


_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE})
"""No descriptor is free to open a folder: then the whole file system is synced instead."""


def _sync_folders(root: int, touched: Mapping[str, None], durable: set[str]) -> None:
    """Make the entries of the folders *touched* durable, and their own names up to the root."""
    wanted = dict(touched)
    for path in touched:
        while path and path not in durable:
            durable.add(path)
            path = path.rpartition("/")[0]  # noqa: PLW2901 - walking up
            wanted[path] = None
    for path in wanted:
        try:
            disk.sync_folder(path, root)
        except FileNotFoundError:  # whoever removed it has removed its names
            durable.discard(path)
        except OSError as error:
            if error.errno not in _EXHAUSTED or disk.sync_filesystem(root, 1)[0] is not None:
                told = f"cannot make the names of files durable: {error.strerror}"  # and no name
                raise MediumFailed(told) from error
