"""Damage of stored bytes is found, and told where it is."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.rings import Rings, rings
from uploadd.ledger import Ledger
from uploadd.store import settle
from uploadd.store.file import FileStore
from uploadd.verifying import SEGMENT, Verifying


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[tuple[Rings, Verifying]]:
    """On a real disk."""
    ledger = Ledger(str(folder / "ledger.db"))
    async with rings(None, FileStore(str(folder / "served")), ledger) as r:
        yield r, Verifying(r.uploads)


def rot(path: Path, at: int) -> None:
    """Turn one bit, as a disk does: nothing else of the file changes."""
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 4]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


async def test_one_bit_is_found_with_its_segment(tmp_path: Path) -> None:
    """The first look notes, the second is good, and then it is damaged, each time."""
    data = os.urandom(1 << 20) * 8 + b"rest"
    assert len(data) == SEGMENT + 4
    async with house(tmp_path) as (r, verifying):
        upload = await r.published(b"x" * 10, name="small")
        big = await r.written(data, length=len(data), name="big")
        await r.uploads.complete(big)
        assert [(await verifying.verify(one)).found for one in (upload, big)] == ["noted"] * 2
        assert [(await verifying.verify(one)).found for one in (upload, big)] == ["good"] * 2
        rot(tmp_path / "served/big", SEGMENT + 1)
        for _ in range(2):
            verdict = await verifying.verify(big)
            assert (verdict.found, verdict.path) == ("damaged", "big")
            assert verdict.detail.endswith(f"from byte {SEGMENT} on")
        assert (await verifying.verify(upload)).found == "good"


async def test_a_disk_that_fails_is_not_taken_for_a_file_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads that it is missing might look for who removed it."""
    async with house(tmp_path) as (r, verifying):
        upload = await r.published(b"data", name="x")

        def fail(*asked: object) -> int:
            raise OSError(errno.EMFILE, "no descriptor")

        monkeypatch.setattr(settle, "open_published", fail)
        assert (await verifying.verify(upload)).found == "unreadable"
        monkeypatch.undo()
        (tmp_path / "served/x").unlink()
        assert (await verifying.verify(upload)).found == "missing"


async def test_what_was_uploaded_with_a_digest_needs_no_first_look(tmp_path: Path) -> None:
    """The digest is of before it was stored."""
    async with house(tmp_path) as (r, verifying):
        upload = await r.published(b"data", name="x", digest=hashlib.sha256(b"data").digest())
        rot(tmp_path / "served/x", 2)
        assert (await verifying.verify(upload)).found == "damaged"


async def test_a_file_that_is_gone_or_another_is_told(tmp_path: Path) -> None:
    """Nobody is told that it is good."""
    async with house(tmp_path) as (r, verifying):
        upload, empty = await r.published(b"data", name="x"), await r.published(b"", name="e")
        assert (await verifying.verify(empty)).found == "noted"
        assert (await verifying.verify(empty)).found == "good"
        (tmp_path / "served/x").unlink()
        assert (await verifying.verify(upload)).found == "missing"
        unfinished, _ = r.new(length=4)
        assert (await verifying.verify(unfinished)).found == "missing"


async def test_a_file_that_somebody_deletes_is_not_missed(tmp_path: Path) -> None:
    """Neither while that is under way nor when it is done."""
    async with house(tmp_path) as (r, verifying):
        upload = await r.published(b"data", name="x")
        unpublish, found = r.store.unpublish, []

        async def removed_and_not_yet_told(*args: Any) -> None:
            await unpublish(*args)
            found.append((await verifying.verify(upload)).found)

        r.store.unpublish = removed_and_not_yet_told
        await r.uploads.delete(upload)
        found.append((await verifying.verify(upload)).found)
        assert found == ["gone", "gone"]
