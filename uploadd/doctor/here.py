"""What of this computer a daemon needs: the folder, its disk, a port, descriptors, the clock."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from uploadd import ports
from uploadd.config import Config
from uploadd.doctor.finding import Finding, Mark, doubt, good, lasts, wrong
from uploadd.folder import STATE, existing, probe
from uploadd.listening import CannotStart, shares
from uploadd.parts import MEND
from uploadd.protocol.saying import size
from uploadd.tls import NoCertificate, shown_of

NETWORKED: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs"})
VANISHING: Final = frozenset({"tmpfs", "ramfs"})
_TIME_ERROR: Final = 5  # of adjtimex(2): the clock is not synchronised
_TIMEX_BYTES: Final = 512  # more than struct timex has


def look(config: Config) -> Iterator[Finding]:
    """Everything, in the order in which it would fail."""
    root = os.path.abspath(config.storage.dir) if config.storage.dir else None
    if root is None:
        yield wrong("folder", "none is named", "uploadd doctor DIR, or [storage] dir")
    else:
        folder = writable(root)
        yield folder
        yield room(root, config.storage.min_free)
        if folder.mark is Mark.GOOD:
            yield file_system(root)
    yield port(config.server.host, config.server.port, root)
    if config.tls.cert:
        yield certificate(config.tls.cert, config.tls.key)
    yield descriptors(config.limits.max_sessions)
    yield clock()


def writable(root: str) -> Finding:
    """Whether files can be made in *root*."""
    try:
        probe(root)
    except CannotStart as refusal:
        return wrong("folder", refusal.message, *refusal.hint.split("\n"))
    missing = "" if os.path.isdir(root) else " (it is made at start)"
    return good("folder", f"{root} can be written to{missing}")


def room(root: str, min_free: int) -> Finding:
    """Bytes and inodes that are free."""
    there = existing(root)
    disk = os.statvfs(there)
    free = disk.f_bavail * disk.f_frsize
    if disk.f_files and not disk.f_favail:
        return wrong("disk", "no inode is free: no file can be made", f"df -i {there}")
    if free <= min_free:
        reserve = f"{size(free)} free, and storage.min_free keeps {size(min_free)}"
        return wrong("disk", f"uploads have no room: {reserve}", f"df -h {there}")
    how = f"{size(free - min_free)} for uploads, {size(min_free)} kept free"
    if disk.f_files and disk.f_favail < 10_000:
        return doubt("disk", f"{how}; but {disk.f_favail} inodes: as many files", f"df -i {there}")
    return good("disk", how)


def file_system(root: str) -> Finding:
    """Whether *root* lies on one on which files can be published, and stay."""
    there = existing(root)
    kind = _kind(there)
    try:
        _link(there)
    except OSError as error:
        reason = error.strerror or str(error)
        return wrong(
            "file system",
            f"{kind} has no hard links here ({reason}): nothing could be published",
            "storage.dir on a local disk: ext4, xfs, btrfs or zfs",
        )
    if kind in VANISHING:
        return doubt(
            "file system", f"{kind}: what is on it is gone after a restart of the computer"
        )
    if kind in NETWORKED:
        return doubt(
            "file system",
            f"{kind}: durable is what its server calls so; files may be locked by nobody",
            "one daemon for a folder, and a server that honours fsync (NFS: export with sync)",
        )
    return good("file system", f"{kind}, with hard links")


def _link(folder: Path) -> None:
    """Make a file in *folder* and give it another name; nothing is left.  Raises OSError."""
    names = [folder / f"{STATE}-doctor-{uuid.uuid4().hex}" for _ in range(2)]
    try:
        names[0].touch(0o600, exist_ok=False)
        os.link(names[0], names[1])
    finally:
        for name in names:
            with suppress(OSError):
                name.unlink()


def _kind(path: Path) -> str:
    """The type of the file system that *path* lies on."""
    found = ("", "unknown")
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        kind = words[words.index("-") + 1]
        if words[2] == wanted and len(words[4]) >= len(found[0]):
            found = (words[4], kind)
    return found[1]


def port(host: str, number: int, root: str | None) -> Finding:
    """Whether *host* and port *number* can be listened on, or are by who should."""
    where = f"{host}:{number}"
    try:
        with socket.create_server((host, number), family=_family(host)):
            return good("port", f"{where} is free")
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return wrong(
                "port", f"{where}: {error.strerror or error}", "another server.host or port"
            )
    holder = ports.listener(number)
    if holder is None:
        return wrong("port", f"{where} is used by a process of somebody else", "ss -ltnp")
    if holder.name == "systemd" or holder.pid == _served_by(root):
        by = "systemd, for uploadd.socket" if holder.name == "systemd" else "uploadd"
        return good("port", f"{where} is listened on by {by} (pid {holder.pid})")
    other = f"uploadd serve with --port {number + 1 if number < 65535 else 8080}"
    return wrong("port", f"{where} is used by pid {holder.pid} ({holder.name})", other)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _served_by(root: str | None) -> int | None:
    """The process that has locked *root*, if it said so."""
    with suppress(OSError, ValueError, TypeError):
        return int(Path(root or "", STATE, "lock").read_text())
    return None


def certificate(cert: str, key: str) -> Finding:
    """Whether it can be used, and for how long."""
    try:
        ends = shown_of(cert, key).ends
    except NoCertificate as error:
        return wrong("certificate", str(error), MEND)
    return lasts(ends, "renew it, then: systemctl reload uploadd")


def descriptors(max_sessions: int) -> Finding:
    """Whether there are as many as limits.max_sessions needs."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections, _ = shares(hard)
    how = f"{hard}, enough for {connections} connections"
    if connections < max_sessions:
        return doubt(
            "descriptors",
            f"{how}; limits.max_sessions is {max_sessions}",
            f"LimitNOFILE={4 * max_sessions} in the unit, or ulimit -Hn; or fewer sessions",
        )
    return good("descriptors", how)


def clock() -> Finding:
    """Whether somebody sets it: tokens and expiry go by it."""
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if state == _TIME_ERROR:
        return doubt("clock", "nobody keeps it right", "timedatectl set-ntp true")
    if state < 0:
        return doubt("clock", "nobody may look whether it is kept right")
    return good("clock", "is kept right")
