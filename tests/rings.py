"""Rings 1 to 3 put together for tests, with a ledger and a store that can be watched and broken."""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from tests.witness import witness
from uploadd.commit import Commit
from uploadd.errors import StoreError, UploadError
from uploadd.hooks import Hooks
from uploadd.intake import Intake, drain
from uploadd.ledger import Ledger
from uploadd.protocol.extents import NOTHING, Extents
from uploadd.protocol.upload import Published, Upload
from uploadd.rows import LOOK, Entries, upload_of
from uploadd.store.contract import Bytes, Publication, Store
from uploadd.store.memory import MemoryStore
from uploadd.uploads import Claim, Uploads

NEVER = 3600.0
"""Seconds: nothing in these tests waits for so long."""


class WatchedLedger(Ledger):
    """A real one that notes what it is given, waits at a gate, and fails when told to."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.batches: list[Entries] = []
        self.gate: trio.Event | None = None
        self.faults: list[Exception] = []

    async def commit(self, entries: Entries) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.faults:
            raise self.faults.pop(0)
        self.batches.append(entries)
        await super().commit(entries)

    def states(self, id: str) -> list[str]:
        """The states of an upload that were written down, in order."""
        return [r[1] for entries in self.batches for r in entries.rows if r[0] == id]


class MemoryLedger:
    """One without files and threads, for flows that are cut at every step."""

    boot = "boot"

    def __init__(self) -> None:
        self.rows: dict[str, tuple[Any, ...]] = {}

    async def commit(self, entries: Entries) -> None:
        await trio.lowlevel.checkpoint()
        for values in entries.rows:
            assert values[3] >= self.rows.get(values[0], values)[3], "an older fence"
            self.rows[values[0]] = values

    async def find(self, id: str) -> Upload | None:
        await trio.lowlevel.checkpoint()
        return upload_of(self.rows[id])[0] if id in self.rows else None

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class WatchedStore(MemoryStore):
    """One that notes the verbs it is given; flushes of the ids in *broken* fail."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[str, ...]] = []
        self.broken: set[str] = set()

    async def flush(
        self, ids: Sequence[str], publishing: Collection[str] = ()
    ) -> Mapping[str, Extents | StoreError]:
        self.log.append(("flush", *ids))
        bad = [id for id in ids if id in self.broken]
        good = await super().flush([id for id in ids if id not in bad], publishing)
        for id in bad:
            self._growing[id].failed, self._growing[id].dirty = True, NOTHING
        return {**good, **{id: StoreError("the store failed: EIO") for id in bad}}

    async def write(self, id: str, at: int, buffers: Sequence[Bytes], **how: Any) -> None:
        await super().write(id, at, buffers, **how)
        self.log.append(("write", id, str(at), str(sum(map(len, buffers)))))

    async def publish(self, wanted: Sequence[Publication]) -> Mapping[str, Published | StoreError]:
        self.log.append(("publish", *(one.id for one in wanted)))
        return await super().publish(wanted)

    async def remove(self, ids: Sequence[str]) -> None:
        self.log.append(("remove", *ids))
        await super().remove(ids)

    async def release(self, ids: Sequence[str]) -> None:
        self.log.append(("release", *ids))
        await super().release(ids)


def fail(fault: Exception) -> None:
    """For claims whose holder makes no mistakes."""
    raise fault


@dataclass
class Rings:
    """All of it, running."""

    store: Store
    ledger: Ledger
    commit: Commit
    uploads: Uploads
    nursery: trio.Nursery

    def claim(self, upload: Upload, stopped: Callable[[UploadError], None] | None = None) -> Claim:
        """The newest claim of *upload*, not settled yet."""
        return self.uploads.contend(upload, stopped or (lambda error: None), lambda: None, fail)

    def new(self, **fields: Any) -> tuple[Upload, Claim]:
        """A new upload, and a claim that may append at once."""
        upload = self.uploads.create(**fields)
        claim = self.claim(upload)
        self.uploads.settle_new(claim)
        return upload, claim

    def intake(self, claim: Claim, taken: Callable[[int], None] | None = None) -> Intake:
        """An intake for chunks of 1 MiB at most."""
        taken = taken or (lambda cost: None)
        return Intake(claim, self.store, self.commit, taken=taken, max_chunk=1 << 20)

    async def append(self, claim: Claim, data: bytes, *, finish: bool = False) -> None:
        """Append *data* at the end of the claim's run; raises what ended it."""
        intake = self.intake(claim)
        intake.put(claim.run.received, data, cost=len(data))
        intake.finish() if finish else intake.close()
        if error := await drain(claim, intake):
            raise error

    async def written(self, data: bytes = b"data", **fields: Any) -> Upload:
        """A new upload with *data* written, and nobody holding it."""
        upload = self.uploads.create(**fields)
        await self.store.write(upload.id, 0, [data])
        return upload

    async def published(self, data: bytes = b"data", **fields: Any) -> Upload:
        """A published upload."""
        upload, claim = self.new(length=len(data), **fields)
        await self.append(claim, data, finish=True)
        await self.uploads.complete(upload)
        self.uploads.release(claim)
        return upload


@asynccontextmanager
async def rings(
    folder: Path | None,
    store: Any = None,
    ledger: Any = None,
    *,
    closing: bool = True,
    hooks: Hooks | None = None,
    **options: Any,
) -> AsyncIterator[Rings]:
    """The rings, with the group commit running; if *closing*, closed in the end.

    The ledger lies in *folder*; without one, in memory.
    """
    store = WatchedStore() if store is None else store
    if ledger is None:
        ledger = WatchedLedger(str(folder / "ledger.db")) if folder else MemoryLedger()
    commit = Commit(store, ledger, **{"flush_interval": NEVER, **options})
    uploads = Uploads(store, ledger, commit, template="{name}", hooks=hooks or witness())
    try:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                await nursery.start(commit.run)
                yield Rings(store, ledger, commit, uploads, nursery)
                nursery.cancel_scope.cancel()
    finally:
        if closing:
            with trio.CancelScope(shield=True):
                await store.aclose()
                await ledger.aclose()


def watched(r: Rings) -> tuple[WatchedStore, WatchedLedger]:
    """Store and ledger, as what they are."""
    assert isinstance(r.store, WatchedStore)
    assert isinstance(r.ledger, WatchedLedger)
    return r.store, r.ledger


async def remembered(r: Rings, upload: Upload) -> Upload:
    """What the ledger says of *upload*."""
    found = await r.ledger.find(upload.id)
    assert found is not None
    return found


# --- ending as a crash does -----------------------------------------------------------------


class Killed(BaseException):
    """The process has ended here; nothing after it is done."""


@dataclass
class Life:
    """So many steps are left; then every step is the last one, again and again."""

    left: int = -1
    """Steps until the end; without end if negative."""
    taken: int = 0

    def step(self) -> None:
        """Live on, or raise Killed."""
        if self.left == 0:
            raise Killed
        self.left -= 1
        self.taken += 1


class Mortal:
    """A store or a ledger whose process may be killed before and after each call of it."""

    def __init__(self, inner: Any, life: Life) -> None:
        self._inner, self._life = inner, life

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(real) or name == "aclose":
            return real

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._life.step()
            result = await real(*args, **kwargs)
            self._life.step()
            return result

        return call


def copied(ledger: str, folder: Path) -> str:
    """The files of a ledger as they lie there, copied: what a crash leaves of it."""
    folder.mkdir()
    for name in ("", "-wal"):
        if os.path.exists(ledger + name):
            shutil.copy(ledger + name, folder / f"ledger.db{name}")
    return str(folder / "ledger.db")


def everything(ledger: Ledger) -> dict[str, Upload]:
    """All uploads that the ledger knows, whatever their state."""
    found = ledger._reader.execute(LOOK + "1").fetchall()
    return {upload.id: upload for upload, _ in map(upload_of, found)}
