"""The group commit at the end of an upload: in which order things become true."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from tests.rings import remembered, rings, watched
from tests.witness import outbox
from uploadd import errors
from uploadd.protocol.extents import NOTHING
from uploadd.protocol.upload import Input, State
from uploadd.rows import COLUMNS


async def test_an_upload_is_intended_before_it_is_linked_and_removed_after_it_is_published(
    tmp_path: Path,
) -> None:
    """Each step is remembered before the next one would need it."""
    async with rings(tmp_path) as r:
        store, ledger = watched(r)
        ledger.gate = trio.Event()
        upload = await r.written(b"data", length=4, name="x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(r.commit.publish, upload, "x")
            await trio.testing.wait_all_tasks_blocked()
            assert not any(verb[0] == "publish" for verb in store.log)
            assert upload.state is State.FINALIZING
            assert upload.offset == 0
            ledger.gate.set()
        assert upload.state is State.PUBLISHED
        assert upload.offset == 4
        assert store.published("x") == b"data"
        assert ("remove", upload.id) not in store.log
        assert (await remembered(r, upload)).state is State.FINALIZING
        await r.commit.drain()
        await trio.testing.wait_all_tasks_blocked()
        assert store.log[-1] == ("remove", upload.id)
        assert ledger.states(upload.id) == ["finalizing", "published"]
        assert [len(entries.events) for entries in ledger.batches] == [0, 1]
        [event] = await outbox(r.ledger)
        assert (event.upload, event.kind) == (upload.id, "post-finish")


async def test_nameless_bytes_are_held_only_once_they_have_their_name(tmp_path: Path) -> None:
    """A crash before that would take them: the intent does not count them as held."""
    async with rings(tmp_path) as r:
        upload = await r.published(b"data", name="x")
        await r.commit.drain()
        rows = [row for entries in watched(r)[1].batches for row in entries.rows]
        assert [(row[1], row[2]) for row in rows] == [("finalizing", ""), ("published", "0-4")]
        assert upload.published is not None
        assert rows[0][COLUMNS.index("inode")] == upload.published.inode


async def test_what_is_gone_is_remembered_before_its_bytes_are_removed(tmp_path: Path) -> None:
    """And no flush is wasted on it."""
    async with rings(tmp_path) as r:
        store, ledger = watched(r)
        upload = await r.written()
        upload.move(Input.CANCEL)
        ledger.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(r.commit.forget, upload)
            await trio.testing.wait_all_tasks_blocked()
            assert await store.read(upload.id, 0, 4) == b"data"
            ledger.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert await store.read(upload.id, 0, 4) == b""
        assert (await remembered(r, upload)).state is State.CANCELLED
        assert not any(verb[0] == "flush" for verb in store.log)


async def test_a_descriptor_is_released_after_its_bytes_are_durable(tmp_path: Path) -> None:
    """Not before, or they would be forgotten."""
    async with rings(tmp_path) as r:
        upload = await r.written()
        r.commit.release(upload)
        await r.commit.drain()
        await trio.testing.wait_all_tasks_blocked()
        verbs = [verb[0] for verb in watched(r)[0].log]
        assert verbs == ["write", "flush", "release"]
        assert upload.offset == 4


# --- several wishes for one upload ----------------------------------------------------------


async def test_finishing_too_early_remembers_what_is_there(tmp_path: Path) -> None:
    """Incomplete is told to who asked for it; others who wait are not concerned."""
    async with rings(tmp_path) as r:
        upload = await r.written(b"1234", length=6)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(r.commit.settle, upload)
            with pytest.raises(errors.Incomplete):
                await r.commit.publish(upload, "x")
        assert upload.held == (await remembered(r, upload)).held == NOTHING.add(0, 4)
        await r.store.write(upload.id, 4, [b"56"])
        await r.commit.publish(upload, "x")
        assert watched(r)[0].published("x") == b"123456"


async def test_finishing_twice_at_once_publishes_once(tmp_path: Path) -> None:
    """In one batch, or the second while the first is being written down."""
    async with rings(tmp_path) as r:
        store, ledger = watched(r)
        upload = await r.written(b"data", length=4, name="x")
        ledger.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(r.uploads.complete, upload)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(r.uploads.complete, upload)
            nursery.start_soon(r.commit.publish, upload, "y")
            await trio.testing.wait_all_tasks_blocked()
            ledger.gate.set()
        await r.uploads.complete(upload)
        assert [verb for verb in store.log if verb[0] == "publish"] == [("publish", upload.id)]
        assert upload.published is not None
        assert upload.published.path == "x"


@pytest.mark.parametrize("waiting", [True, False])
async def test_a_cancel_that_meets_a_finish_wins_before_the_intent(
    tmp_path: Path, waiting: bool
) -> None:
    """While it waits for its batch, and while it is flushed; the end is remembered."""
    async with rings(tmp_path) as r:
        store = watched(r)[0]
        gate = store.clog("flush")
        if waiting:
            r.commit.flush(await r.written())  # a batch that runs
            await trio.testing.wait_all_tasks_blocked()
        upload = await r.written(b"data", length=4, name="x")

        async def finish() -> None:
            with pytest.raises(errors.Gone):
                await r.uploads.complete(upload)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(finish)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(r.uploads.cancel, upload)
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
        assert (await remembered(r, upload)).state is State.CANCELLED
        with pytest.raises(KeyError):
            store.published("x")


async def test_a_finish_whose_session_has_ended_goes_on(tmp_path: Path) -> None:
    """Cancelled, it is published all the same."""
    async with rings(tmp_path) as r:
        upload = await r.written(b"data", length=4, name="x")
        with trio.CancelScope() as scope:
            scope.cancel()
            await r.uploads.complete(upload)
        await r.commit.drain()
        assert upload.state is State.PUBLISHED
