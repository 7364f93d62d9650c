"""What becomes of a daemon that runs when its disk fails, or goes."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.e2e.daemon import Daemon
from tests.e2e.faults import Rule, environment
from tests.e2e.powercut import CannotMount, Disk
from tests.e2e.rights import CHUNK, TUS, Asker
from tests.e2e.test_operating import Operated

ANYHOW = ("--set", "storage.min_free=0 B")


@pytest.fixture
def disk() -> Iterator[Disk]:
    """An ext4 of its own."""
    try:
        disk = Disk(32)
    except CannotMount as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    yield disk
    disk.close()


@pytest.fixture
def daemon(disk: Disk, tmp_path: Path) -> Iterator[Operated]:
    """One whose folder is on that disk; its back door is not."""
    back = tmp_path / "admin.sock"
    with Operated(disk.folder / "store", *ANYHOW, "--set", f"admin.listen=unix:{back}") as daemon:
        daemon.back = back
        daemon.start()
        yield daemon


def half(asker: Asker) -> str:
    """The path of an upload of four bytes, two of which are durable."""
    path = asker.ask("POST", "/files/", TUS | {"Upload-Length": "4"}).getheader("Location") or ""
    assert asker.status("PATCH", path, CHUNK | {"Upload-Offset": "0"}, b"ab") == "204"
    return path


def test_a_disk_that_turns_read_only_is_told_and_loses_nothing(
    disk: Disk, daemon: Operated
) -> None:
    """The kernel does that to a damaged file system: red, then 503, then the end; and it does not
    start on it again and again.
    """
    asker = Asker(daemon, None)
    path = half(asker)
    disk.turn_read_only()
    assert "Read-only file system" in daemon.ready()["store"]
    assert asker.status("HEAD", path, TUS) == "200"
    answer = asker.ask("PATCH", path, CHUNK | {"Upload-Offset": "2"}, b"cd")
    assert answer.status == 503
    assert b'"code": "store-not-writable"' in answer.said  # type: ignore[attr-defined]
    assert daemon.wait() == os.EX_IOERR
    assert "stopped, to lose nothing: the ledger failed" in daemon.log
    assert "Traceback" not in daemon.log, daemon.log
    daemon.launch()
    assert daemon.wait() == os.EX_NOPERM  # of those after which systemd leaves it alone
    assert "the file system is read-only" in daemon.log
    assert "remount,rw" in daemon.log
    disk.restore()
    daemon.start()
    assert asker.ask("HEAD", path, TUS).getheader("Upload-Offset") == "2"
    assert asker.status("PATCH", path, CHUNK | {"Upload-Offset": "2"}, b"cd") == "204"
    assert daemon.terminate() == 0


def test_a_daemon_that_does_nothing_stops_in_peace_on_a_disk_that_turned_read_only(
    disk: Disk, daemon: Operated
) -> None:
    """What it cannot tidy up is left."""
    disk.turn_read_only()
    assert daemon.terminate() == 0
    assert "Traceback" not in daemon.log, daemon.log


def test_a_folder_that_is_removed_ends_the_daemon_before_it_acknowledges(memory: Path) -> None:
    """SQLite would write on into a file that has no name any more."""
    with Operated(memory / "store", *ANYHOW) as daemon:
        daemon.start()
        asker = Asker(daemon, None)
        half(asker)
        shutil.rmtree(daemon.folder)
        with suppress(OSError, HTTPException):
            created = asker.status("POST", "/files/", TUS | {"Upload-Length": "4"})
            assert created.startswith("5")
        assert daemon.wait() == os.EX_IOERR
        assert "was removed or replaced while it was used" in daemon.log
        assert "Traceback" not in daemon.log, daemon.log


WRITES = ("pwrite", "pwritev")


def test_a_flush_that_fails_is_told_and_what_was_acknowledged_stays(
    memory: Path, library: Path
) -> None:
    """Once, and the next one would seem to work: nothing of what it was for is believed."""
    store = memory / "store"
    with Operated(store, *ANYHOW) as daemon:
        rules = [Rule("fail", 2, 2, ("fdatasync",))]
        daemon.environment = environment(library, store / ".uploadd" / "growing", rules)
        daemon.start()
        asker = Asker(daemon, None)
        path = half(asker)
        answer = asker.ask("PATCH", path, CHUNK | {"Upload-Offset": "2"}, b"c")
        assert (answer.status, answer.getheader("Upload-Offset")) == (500, None)
        assert b'"code": "store-failed"' in answer.said  # type: ignore[attr-defined]
        told = "store-failed: the disk failed while flushing (EIO) (Input/output error)"
        assert daemon.settles(lambda: told in daemon.log)
        assert asker.ask("HEAD", path, TUS).getheader("Upload-Offset") == "2"
        assert daemon.number("store_errors_total") == 1
        assert asker.status("PATCH", path, CHUNK | {"Upload-Offset": "2"}, b"cd") == "204"
        had = asker.ask("GET", f"/f/{path.rpartition('/')[2]}")
        assert had.said == b"abcd"  # type: ignore[attr-defined]


def test_writes_that_are_short_or_interrupted_are_gone_on_with(memory: Path, library: Path) -> None:
    """No byte is missing and none is there twice."""
    store, data = memory / "store", os.urandom(300_000)
    rules = [Rule("fail", 1, 1, WRITES, errno.EINTR), Rule("short", 2, 1000, WRITES)]
    added = environment(library, store / ".uploadd" / "growing", rules, memory / "trace")
    with Daemon(store, environment=added) as daemon:
        daemon.start()
        asker = Asker(daemon, None)
        path = asker.ask("POST", "/files/", TUS | {"Upload-Length": "300000"}).getheader("Location")
        for at in range(0, len(data), 30_000):
            fields = CHUNK | {"Upload-Offset": str(at)}
            assert asker.status("PATCH", path, fields, data[at : at + 30_000]) == "204"
        had = asker.ask("GET", f"/f/{(path or '').rpartition('/')[2]}")
        assert had.said == data  # type: ignore[attr-defined]
        assert (memory / "trace").read_text().count("pwrite") > 20
