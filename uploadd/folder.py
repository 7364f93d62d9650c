"""The folder that is served: ours alone, and writable, or a sentence about why not."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import pwd
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from uploadd.listening import CannotStart
from uploadd.protocol.saying import plural

STATE: Final = ".uploadd"
LEDGER: Final = "ledger.db"
_RIGHTS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextmanager
def locked(root: str) -> Iterator[None]:
    """Hold the folder *root*: a second daemon on it refuses to start.  Raises CannotStart."""
    try:
        os.makedirs(os.path.join(root, STATE), mode=0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(os.path.join(root, STATE, "lock"), flags, 0o600)
    except OSError as error:
        raise not_writable(root, error) from error
    try:
        _lock(fd, root)
        probe(root)
        yield
    finally:
        os.close(fd)


def check_free(root: str) -> None:
    """Raises CannotStart while another daemon has the folder *root*; nothing is made."""
    root = os.path.abspath(root)
    try:
        fd = os.open(os.path.join(root, STATE, "lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        _have(fd, root, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _lock(fd: int, root: str) -> None:
    _have(fd, root, fcntl.LOCK_EX)
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)


def _have(fd: int, root: str, how: int) -> None:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
        raise CannotStart(
            f"{root} is served by another uploadd (pid {holder or 'unknown'})",
            "stop that one first, or serve another folder",
            os.EX_TEMPFAIL,
            setting="storage.dir",
        ) from error


def probe(root: str) -> None:
    """Raises CannotStart unless a file can be made in *root*, or where it will be; none is left."""
    name = os.path.join(existing(root), f"{STATE}-probe-{os.getpid()}")
    try:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise not_writable(root, error) from error
    with suppress(OSError):
        os.unlink(name)


def check_remembered(root: str) -> None:
    """Raises CannotStart for unfinished uploads without a ledger: all of them would be removed.

    A ledger is there, durably, before the first of them.  Where it was not closed its log is
    there, too, before the index of that log, and goes after it.
    """
    ledger, growing = Path(root, STATE, LEDGER), Path(root, STATE, "growing")
    log, index = Path(f"{ledger}-wal"), Path(f"{ledger}-shm")
    if index.exists() and not log.exists():
        raise CannotStart(
            f"{log} is gone, and with it the newest of what was acknowledged",
            f"restore it from a copy; or give that up: rm {shlex.quote(str(index))}",
            os.EX_DATAERR,
        )
    if ledger.exists() and ledger.stat().st_size:
        return
    if growing.is_dir() and (found := sum(1 for _ in growing.iterdir())):
        raise CannotStart(
            f"{plural(found, 'unfinished upload')} in {growing}, and {ledger} is gone or empty",
            f"restore {LEDGER} from a copy; or give them up: rm -r {shlex.quote(str(growing))}",
            os.EX_DATAERR,
        )


def existing(root: str) -> Path:
    """*root*, or the nearest folder above it that there is."""
    return next(place for place in (Path(root), *Path(root).parents) if os.path.lexists(place))


def not_writable(root: str, error: OSError) -> CannotStart:
    """Why *root* cannot be written to, which failed with *error*, and what to type."""
    path, user = shlex.quote(root), _user(os.geteuid())
    if error.errno not in _RIGHTS:
        reason = error.strerror or str(error)
        return CannotStart(f"cannot write to {root}: {reason}", _instead(root), os.EX_NOPERM)
    unit = f"\n(or the unit lacks ReadWritePaths={path}: systemctl edit uploadd)"
    if error.errno == errno.EROFS:
        return CannotStart(
            f"cannot write to {root}: the file system is read-only, running as {user}",
            f'dmesg, which tells why; sudo mount -o remount,rw "$(stat -c %m {path})"{unit}',
            os.EX_NOPERM,
            setting="storage.dir",
        )
    group = _group(os.getegid())
    return CannotStart(
        f"cannot write to {root}: {_whose(root)}, running as {user}",
        f"sudo install -d -o {user} -g {group} -m 0750 {path}{unit}",
        os.EX_NOPERM,
        setting="storage.dir",
    )


def _instead(root: str) -> str:
    """What to do where no rights would help."""
    for place in (*reversed(Path(root).parents), Path(root), Path(root, STATE)):
        if os.path.lexists(place) and not place.is_dir():
            return f"name another folder, or move {place} away: it is no folder"
    return f"name another folder: nothing can be made in {existing(root)}"


def _whose(root: str) -> str:
    """Owner and mode of *root*, or of the nearest folder above it that there is."""
    for place in (Path(root), *Path(root).parents):
        with suppress(OSError):
            status = place.stat()
            named = "" if str(place) == root else f"{place} is "
            return f"{named}owned by {_user(status.st_uid)}, mode {status.st_mode & 0o7777:04o}"
    return "nobody may look at it"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
