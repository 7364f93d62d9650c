"""Recovery: one way for kill -9 and power loss; it can be killed anywhere and run again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import pytest

from tests.crashes import (
    Folders,
    Medium,
    Told,
    after,
    deadly_system_calls,
    new_folders,
    run_on,
    until_killed,
)
from tests.rings import Killed, Life, Mortal, everything
from tests.witness import outbox, witness
from uploadd import ledger as ledger_module
from uploadd.errors import NoSpace, NotWritable
from uploadd.ledger import Ledger
from uploadd.protocol.extents import NOTHING
from uploadd.protocol.upload import Identity, State, Upload
from uploadd.recovery import PAGE, Report, recover
from uploadd.rows import Entries, row, upload_of
from uploadd.store.contract import Publication
from uploadd.store.file import FileStore

KINDS = ["memory", "file"]


@pytest.fixture
def folders() -> Iterator[Folders]:
    """New ones."""
    with new_folders() as folders:
        yield folders


@pytest.mark.parametrize("kind", [*KINDS, "system calls"])
async def test_a_kill_at_any_call_loses_nothing_that_was_told(folders: Folders, kind: str) -> None:
    """Before and after every call of store and ledger, and before every one of the system.

    And the next day goes on from there.
    """
    steps, killed = 0, True
    while killed:
        medium = Medium(next(folders), "memory" if kind == "memory" else "file")
        told: Told = {}
        owed: dict[str, bytes] = {}
        in_kernel = kind not in KINDS
        killed = await until_killed(medium, Life(steps), told, owed, in_kernel=in_kernel)
        async with medium.opened() as (store, ledger):
            for _ in range(2):
                await recover(store, ledger, hooks=witness())
                await after(medium, ledger, told, owed)
        async with medium.opened() as (store, ledger):
            await recover(store, ledger, hooks=witness())
            await run_on(store, ledger, owed)
        async with medium.opened() as (store, ledger):
            await recover(store, ledger, hooks=witness())
            await after(medium, ledger, told, owed)
            assert {u.state for u in everything(ledger).values()} <= {
                State.PUBLISHED,
                State.CANCELLED,
            }
        steps += 1
    assert steps > 40


# --- recovery itself ------------------------------------------------------------------------

BYTES = {
    *("receiving", "intended", "linked", "nameless", "vanished", "lost", "published"),
    *("cancelled", "unknown"),
}


async def leave(store: Any, ledger: Ledger) -> None:
    """One upload in every state in which a crash can leave one."""
    uploads = {
        "receiving": Upload("receiving", held=NOTHING.add(0, 4)),
        "row-only": Upload("row-only"),
        "intended": Upload("intended", state=State.FINALIZING, held=NOTHING.add(0, 8)),
        "linked": Upload("linked", state=State.FINALIZING, held=NOTHING.add(0, 8)),
        "nameless": Upload("nameless", state=State.FINALIZING),
        "vanished": Upload("vanished", state=State.FINALIZING),
        "lost": Upload("lost", held=NOTHING.add(0, 9), key="k"),
        "published": Upload("published", state=State.PUBLISHED, held=NOTHING.add(0, 8)),
        "cancelled": Upload("cancelled", state=State.CANCELLED, held=NOTHING.add(0, 8)),
    }
    for id in sorted(BYTES):
        nameless = id in ("nameless", "vanished")
        await store.write(id, 0, [b"12345678"], whole=nameless)
        await store.flush([id], [id] if nameless else [])
    known = await store.identities(sorted(BYTES))
    for id, upload in uploads.items():
        upload.length = 8
        upload.intent, upload.identity = "x.bin", known.get(id)
    for id in ("published", "linked", "nameless"):
        [published] = (await store.publish([Publication(id, "x.bin")])).values()
        uploads[id].intent = published.path if id == "published" else "x.bin"
    rows = [row(upload, upload.held, "boot") for upload in uploads.values()]
    await ledger.commit(Entries(rows))


async def as_it_should_be(medium: Medium, ledger: Ledger) -> None:
    """What recovery makes of it."""
    uploads = everything(ledger)
    states = {id: upload.state.value for id, upload in uploads.items()}
    assert states == {
        **dict.fromkeys(("receiving", "row-only", "vanished"), "receiving"),
        **dict.fromkeys(("intended", "linked", "nameless", "published"), "published"),
        "lost": "lost",
        "cancelled": "cancelled",
    }
    paths = {id: u.published.path for id, u in uploads.items() if u.published}
    assert paths == {
        "published": "x.bin",
        "linked": "x-2.bin",
        "nameless": "x-3.bin",
        "intended": "x-4.bin",
    }
    assert medium.files() == dict.fromkeys(paths.values(), b"12345678")
    assert {id: uploads[id].offset for id in ("receiving", "vanished", "lost", "nameless")} == {
        "receiving": 4,
        "vanished": 0,
        "lost": 9,
        "nameless": 8,
    }
    assert uploads["lost"].key is None, "the key can be used again"
    assert medium.growing() <= {"receiving", "vanished"}
    events = sorted(line.event for line in await outbox(ledger))
    assert events == ["intended.post-finish", "linked.post-finish", "nameless.post-finish"]


@pytest.mark.parametrize("kind", KINDS)
async def test_it_brings_store_and_ledger_to_one_truth(folders: Folders, kind: str) -> None:
    """And says what it found; again, there is nothing left to find."""
    medium = Medium(next(folders), kind)
    async with medium.opened() as (store, ledger):
        await leave(store, ledger)
    async with medium.opened() as (store, ledger):
        report = await recover(store, ledger, hooks=witness())
        assert sorted(report.unfinished) == ["receiving", "row-only", "vanished"]
        assert sorted(report.published) == ["intended", "linked", "nameless"]
        assert report.lost == ["lost"]
        await as_it_should_be(medium, ledger)
        again = await recover(store, ledger, hooks=witness())
        assert again == Report(unfinished=again.unfinished)
        await as_it_should_be(medium, ledger)


@pytest.mark.parametrize("kind", KINDS)
async def test_killed_at_any_call_it_is_run_again(folders: Folders, kind: str) -> None:
    """Before and after every call of store and ledger."""
    steps, killed = 0, True
    while killed:
        medium = Medium(next(folders), kind)
        async with medium.opened() as (store, ledger):
            await leave(store, ledger)
        killed = await killed_in_recovery(medium, Life(steps))
        async with medium.opened() as (store, ledger):
            await recover(store, ledger, hooks=witness())
            await as_it_should_be(medium, ledger)
        steps += 1
    assert steps > 6


async def killed_in_recovery(medium: Medium, life: Life) -> bool:
    """Recover until *life* ends; whether it did."""
    try:
        async with medium.opened() as (store, ledger):
            await recover(Mortal(store, life), Mortal(ledger, life), hooks=witness())
    except Killed:
        return True
    return False


async def test_killed_at_any_system_call_it_is_run_again(
    folders: Folders,
) -> None:
    """Before each call that FileStore makes while it recovers."""
    steps, killed = 0, True
    while killed:
        medium = Medium(next(folders), "file")
        async with medium.opened() as (store, ledger):
            await leave(store, ledger)
        killed = await killed_in_the_kernel(medium, Life(steps))
        async with medium.opened() as (store, ledger):
            await recover(store, ledger, hooks=witness())
            await as_it_should_be(medium, ledger)
        steps += 1
    assert steps > 20


async def killed_in_the_kernel(medium: Medium, life: Life) -> bool:
    """Recover until *life* ends in a system call; whether it did."""
    async with medium.opened() as (store, ledger):
        with deadly_system_calls(life):
            try:
                await recover(store, ledger, hooks=witness())
            except Killed:
                return True
    return False


async def test_on_a_copy_of_the_disk_what_was_intended_is_carried_out(folders: Folders) -> None:
    """Restored or moved, the files have other inodes; the bytes are the same."""
    medium = Medium(next(folders), "file")
    async with medium.opened() as (store, ledger):
        upload = Upload("a", state=State.FINALIZING, length=4, intent="x")
        await store.write("a", 0, [b"data"])
        await store.flush(["a"])
        upload.identity = (await store.identities(["a"]))["a"]
        await ledger.commit(Entries([row(upload, NOTHING.add(0, 4), "boot")]))
    before = medium.files_of.rename(medium.files_of.with_name("before"))
    (medium.files_of.parent / "filler").write_bytes(b"takes an inode")
    shutil.copytree(before, medium.files_of)
    async with medium.opened() as (store, ledger):
        assert (await recover(store, ledger, hooks=witness())).published == ["a"]
        assert medium.files() == {"x": b"data"}


async def test_of_however_many_there_are_few_are_in_memory(folders: Folders) -> None:
    """Clients may have said a lot of each: of those that only go on, nothing is looked at."""
    medium, said = Medium(next(folders), "memory"), {"said": "\N{GRINNING FACE}" * 3000}
    async with medium.opened() as (store, ledger):
        going = [Upload(f"r{n:03}", metadata=said) for n in range(2 * PAGE)]
        lost = [Upload(f"l{n:03}", metadata=said, held=NOTHING.add(0, 1)) for n in range(PAGE)]
        begun = [
            Upload(f"f{n:03}", metadata=said, state=State.FINALIZING) for n in range(2 * PAGE + 1)
        ]
        await ledger.commit(Entries([row(u, u.held, "boot") for u in [*going, *lost, *begun]]))
        del going, lost, begun
    async with medium.opened() as (store, ledger):
        with counted() as rows:
            report = await recover(store, ledger)
        assert (len(report.unfinished), len(report.lost)) == (4 * PAGE + 1, PAGE)
        assert max(rows) <= PAGE + 1
        assert len(rows) == 3 * PAGE + 1


@contextmanager
def counted() -> Iterator[list[int]]:
    """How many uploads from ledgers were in memory, each time that another came."""
    rows, alive = list[int](), WeakSet[Upload]()

    def count(values: Sequence[Any]) -> tuple[Upload, str]:
        found = upload_of(values)
        alive.add(found[0])
        rows.append(len(alive))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_module, "upload_of", count)
        yield rows


# --- what it cannot do ----------------------------------------------------------------------


async def test_without_room_for_a_name_the_upload_is_to_be_finished_again(
    folders: Folders,
) -> None:
    """Its bytes stay, and it is not published by halves."""
    medium = Medium(next(folders), "memory")
    async with medium.opened() as (store, ledger):
        upload = Upload("a", state=State.FINALIZING, length=4, intent="x", identity=Identity(1))
        await store.write("a", 0, [b"data"])
        await store.flush(["a"])
        await ledger.commit(Entries([row(upload, NOTHING.add(0, 4), "boot")]))
    async with medium.opened() as (store, ledger):
        store.settle = _no_room
        assert (await recover(store, ledger, hooks=witness())).unfinished == ["a"]
        del store.settle
        found = everything(ledger)["a"]
        assert (found.state, found.offset) == (State.RECEIVING, 4)
        await run_on(store, ledger, {"a": b"data"})
        assert medium.files() == {"x": b"data"} or medium.files() == {"a": b"data"}


async def _no_room(wanted: list[Publication], nameless: object) -> dict[str, NoSpace]:
    return {one.id: NoSpace("full") for one in wanted}


async def test_a_folder_that_takes_no_writes_is_told(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nothing is served."""
    medium = Medium(next(folders), "file")
    async with medium.opened() as (store, ledger):
        await leave(store, ledger)

    def refuse(*args: Any) -> None:
        raise OSError(30, "Read-only file system")

    async with medium.opened() as (store, ledger):
        assert isinstance(store, FileStore)
        with monkeypatch.context() as patch:
            patch.setattr(os, "ftruncate", refuse)
            with pytest.raises(NotWritable):
                await recover(store, ledger, hooks=witness())
        await recover(store, ledger, hooks=witness())
        await as_it_should_be(medium, ledger)
