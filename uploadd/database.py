"""Opening the SQLite file of the ledger, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
from typing import Final

from uploadd import errors
from uploadd.rows import SCHEMA, SCHEMA_VERSION, UPGRADES

BALLAST: Final = 1 << 20
"""Bytes without which there is no room for anything."""


BUSY: Final = 5.0
"""Seconds for which somebody else may hold the file, who should not: a shell, or a backup."""


class OtherVersionError(sqlite3.DatabaseError):
    """The file is good, and of a schema that this version does not know."""


def connect(path: str, *, uri: bool = False) -> sqlite3.Connection:
    """A connection without transactions of its own."""
    # Each connection has a limiter of one token: never two threads at a time.
    return sqlite3.connect(
        path, uri=uri, isolation_level=None, check_same_thread=False, timeout=BUSY
    )


def open_writer(path: str, *, durable: bool) -> sqlite3.Connection:
    """The one connection that writes; brings an older file up to date."""
    db = connect(path)
    try:
        _configure(db, durable=durable)
    except sqlite3.Error:
        db.close()
        raise
    return db


def _configure(db: sqlite3.Connection, *, durable: bool) -> None:
    (mode,) = db.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError("its file system does not let it keep a write-ahead log")
    db.execute("PRAGMA wal_autocheckpoint=0")
    db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
    _empty_log(db)
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
    while version in UPGRADES:
        version += 1
        db.executescript(f"BEGIN; {UPGRADES[version - 1]} PRAGMA user_version={version}; COMMIT;")
    if version not in (0, SCHEMA_VERSION):
        raise OtherVersionError(
            f"it was written by another version (schema {version}, this one has {SCHEMA_VERSION})"
        )


def _empty_log(db: sqlite3.Connection) -> None:
    """Write what the log holds into the file.

    If the last daemon ended because the log could not be synced, the kernel shows us pages of
    it that it will never write; whatever was appended to those would be lost with them.
    """
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as error:
        if not found_no_room(error):
            raise


def found_no_room(error: sqlite3.Error) -> bool:
    """Whether the disk is full."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def is_full(path: str) -> bool:
    """Whether there is no room beside *path* for the log and the index that SQLite keeps."""
    try:
        stat = os.statvfs(os.path.dirname(path) or ".")
    except OSError:
        return False
    return stat.f_bavail * stat.f_frsize < BALLAST


def cannot_open(path: str, error: sqlite3.Error) -> errors.StoreError:
    """What to tell the operator."""
    if is_full(path):
        return errors.NoSpace(
            f"no room on the disk to open the ledger {path}",
            hint="free some mebibytes and start again: nothing that was acknowledged is lost",
        )
    hint = (
        "restore it from a copy, or move it and growing/ away: uploads that are not finished "
        "and links to finished files are lost with it"
    )
    if isinstance(error, OtherVersionError):
        hint = "install the version that wrote it, or a later one: going back is not safe"
    return errors.NotWritable(f"cannot open the ledger {path}: {error}", hint=hint)


def boot_id() -> str:
    """Of this boot of the machine."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def sync_folder(path: str) -> None:
    """Make the names in *path* durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
