"""Small uploads through store, ledger and group commit alone: no network, no protocol."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import trio

from uploadd.commit import Commit
from uploadd.intake import Intake, drain
from uploadd.ledger import Ledger
from uploadd.store.file import FileStore
from uploadd.uploads import Uploads


async def small_uploads(
    folder: Path, count: int, at_once: int, go: Callable[[], None], size: int = 10240
) -> None:
    """*count* durable uploads of one chunk each, *at_once* of them under way, after *go*."""
    store = FileStore(str(folder))
    ledger = Ledger(str(folder / ".uploadd" / "ledger.db"))
    commit = Commit(store, ledger)
    uploads = Uploads(store, ledger, commit, template="{id}")
    data, left = os.urandom(size), [count]

    async def worker() -> None:
        while left[0] > 0:
            left[0] -= 1
            await _one(uploads, data)

    async with trio.open_nursery() as services:
        await services.start(commit.run)
        go()
        async with trio.open_nursery() as workers:
            for _ in range(at_once):
                workers.start_soon(worker)
        await commit.drain()
        services.cancel_scope.cancel()
    await store.aclose()
    await ledger.aclose()


def _fault(error: Exception) -> None:
    raise error


async def _one(uploads: Uploads, data: bytes) -> None:
    upload = uploads.create(name="small.bin", length=len(data))
    claim = uploads.contend(upload, lambda error: None, lambda: None, _fault)
    uploads.settle_new(claim)
    intake = Intake(
        claim, uploads.store, uploads.commit, taken=lambda cost: None, max_chunk=1 << 20
    )
    intake.put(0, data, cost=len(data))
    intake.finish()
    assert await drain(claim, intake) is None
    await uploads.complete(upload)
    uploads.release(claim)
