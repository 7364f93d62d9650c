"""The desk: found by id and key, claimed by the newest, ended once."""

from __future__ import annotations

import gc
import hashlib
from itertools import islice
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.rings import WatchedLedger, rings
from uploadd import errors
from uploadd.naming import new_ids
from uploadd.protocol.upload import State, Upload
from uploadd.rows import Entries, row
from uploadd.store.memory import MemoryStore
from uploadd.uploads import RECENT, Uploads

# --- create and find ------------------------------------------------------------------------


async def test_an_upload_is_one_object_as_long_as_somebody_holds_it(tmp_path: Path) -> None:
    """Two who find it see the same offset; later it is read from the ledger."""
    async with rings(tmp_path) as r:
        upload = await r.written(name="x", length=9, owner="ann", metadata={"a": "b"})
        await r.commit.settle(upload)
        assert await r.uploads.find(upload.id) is upload
        id = upload.id
        del upload
        gc.collect()
        found, again = await r.uploads.find(id), await r.uploads.find(id)
        assert found is again
        assert (found.name, found.length, found.owner, found.offset) == ("x", 9, "ann", 4)
        assert found.metadata == {"a": "b"}
        with pytest.raises(errors.NotFound):
            await r.uploads.find("nobody")


async def test_many_who_look_at_once_find_one_object(tmp_path: Path) -> None:
    """However their readings of the ledger interleave, by id or by key."""
    async with rings(tmp_path) as r:
        upload = Upload("a", owner="ann", key="k")
        await r.ledger.commit(Entries([row(upload, upload.held, "boot")]))
        found: list[Upload | None] = []

        async def by_id() -> None:
            found.append(await r.uploads.find("a"))

        async def by_key() -> None:
            found.append(await r.uploads.find_key("ann", "k"))

        async with trio.open_nursery() as nursery:
            for look in (by_id, by_key, by_id, by_key):
                nursery.start_soon(look)
        assert found[0] is not None
        assert all(upload is found[0] for upload in found)


async def test_a_key_is_taken_once_by_each_owner(tmp_path: Path) -> None:
    """Of many who ask for it at once, one creates, and the others find that one."""
    async with rings(tmp_path) as r:
        found: list[Upload] = []

        async def begin(owner: str) -> None:
            upload = await r.uploads.find_key(owner, "k")
            found.append(upload or r.uploads.create(owner=owner, key="k"))

        async with trio.open_nursery() as nursery:
            for owner in ("ann", "ann", "bob", "ann"):
                nursery.start_soon(begin, owner)
        assert len({upload.id for upload in found}) == 2
        for upload in found:
            r.commit.enrol(upload)
        await r.commit.drain()


async def test_a_key_is_free_again_once_its_end_is_remembered(tmp_path: Path) -> None:
    """Not before: two rows with one key would be a contradiction."""
    async with rings(tmp_path) as r:
        ledger = r.ledger
        assert isinstance(ledger, WatchedLedger)
        upload = await r.written(key="k")
        await r.commit.settle(upload)
        ledger.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(r.uploads.cancel, upload)
            await trio.testing.wait_all_tasks_blocked()
            assert await r.uploads.find_key("", "k") is upload
            ledger.gate.set()
        assert await r.uploads.find_key("", "k") is None
        newer = r.uploads.create(key="k")
        r.commit.enrol(newer)
        await r.commit.drain()
        assert await r.uploads.find_key("", "k") is newer


async def test_an_upload_too_large_or_without_room_is_refused_before_its_first_byte(
    tmp_path: Path,
) -> None:
    """The room that was read counts for a second."""
    store = MemoryStore(capacity=100)
    async with rings(tmp_path, store) as r:
        r.uploads.max_length = 200
        for length in (None, 0, 100):
            await r.uploads.room_for(length)
        with pytest.raises(errors.NoSpace):
            await r.uploads.room_for(101)
        with pytest.raises(errors.TooLarge):
            await r.uploads.room_for(201)
        store.fail_next["room"] = 5
        await r.uploads.room_for(100)


async def test_what_is_free_is_read_once_for_all_who_have_to_know(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for one answer; when that fails, the next asks."""
    store, asked, answer = MemoryStore(capacity=100), 0, trio.Event()

    async def room() -> int:
        nonlocal asked
        asked += 1
        await answer.wait()
        if asked == 1:
            raise errors.StoreError("for once")
        return 100

    monkeypatch.setattr(store, "room", room)
    async with rings(tmp_path, store) as r:
        refused, begun = list[int](), list[int]()

        async def begin(length: int) -> None:
            try:
                await r.uploads.room_for(length)
            except errors.StoreError:
                refused.append(length)
            else:
                begun.append(length)

        for length in range(10):
            nursery.start_soon(begin, length)
        await trio.testing.wait_all_tasks_blocked()
        assert asked == 1
        answer.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (asked, len(refused), len(begun)) == (2, 1, 9)


async def test_a_template_that_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    """Not when the first upload is complete."""
    async with rings(tmp_path) as r:
        with pytest.raises(ValueError, match="last step"):
            Uploads(r.store, r.ledger, r.commit, template="{date}")


async def test_the_path_is_made_from_the_template_and_safe_names(tmp_path: Path) -> None:
    """Name and owner are metadata, never paths."""
    async with rings(tmp_path) as r:
        now = 1795132800.0  # 2026-11-20
        uploads = Uploads(
            r.store, r.ledger, r.commit, template="{subject}/{date}/{id}-{name}", now=lambda: now
        )
        upload = uploads.create(name="../x\\y", owner="/ann/", length=0)
        await uploads.complete(upload)
        assert upload.published is not None
        assert upload.published.path == f"_ann_/2026-11-20/{upload.id}-_x_y"


async def test_the_folders_of_a_file_are_kept(tmp_path: Path) -> None:
    """Whoever sends a tree finds a tree, below the root whatever it says."""
    async with rings(tmp_path) as r:
        uploads = Uploads(r.store, r.ledger, r.commit)
        for told, path in [("a/b/x", "a/b/x"), ("../../x", "x"), ("x", "x-2")]:
            upload = uploads.create(name="x", length=0, metadata={"relativePath": told})
            await uploads.complete(upload)
            assert upload.published is not None
            assert upload.published.path == path


# --- endings --------------------------------------------------------------------------------


async def test_cancelling_waits_for_the_holder_and_stops_whoever_comes_meanwhile(
    tmp_path: Path,
) -> None:
    """When it returns, nothing of anybody can be written any more."""
    async with rings(tmp_path) as r:
        upload, claim = r.new(key="k")
        await r.append(claim, b"data")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(r.uploads.cancel, upload)
            await trio.testing.wait_all_tasks_blocked()
            assert isinstance(claim.ended, errors.Gone)
            newer = r.claim(upload)
            r.uploads.release(claim)
            await trio.testing.wait_all_tasks_blocked()
            assert isinstance(newer.ended, errors.Gone)
            assert upload.state is State.RECEIVING
            r.uploads.release(newer)
        assert upload.state is State.CANCELLED
        await trio.testing.wait_all_tasks_blocked()
        assert await r.store.read(upload.id, 0, 4) == b""
        for call in (r.uploads.cancel(upload), r.uploads.complete(upload)):
            with pytest.raises(errors.Gone):
                await call
        with pytest.raises(errors.Gone):
            r.claim(upload)


async def test_cancelling_twice_at_once_is_one_end(tmp_path: Path) -> None:
    """One of the two did it, the other hears that it is gone."""
    async with rings(tmp_path) as r:
        upload, claim = r.new()
        ends: list[object] = []

        async def cancel() -> None:
            try:
                ends.append(await r.uploads.cancel(upload))
            except errors.Gone as error:
                ends.append(error.reason)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel)
            nursery.start_soon(cancel)
            await trio.testing.wait_all_tasks_blocked()
            r.uploads.release(claim)
        assert sorted(map(str, ends)) == ["None", "cancelled"]


async def test_who_comes_while_an_end_is_written_down_hears_that_and_then_that_it_is_gone(
    tmp_path: Path,
) -> None:
    """Not that there is no room; and not that it is gone before a crash could not bring it back."""
    async with rings(tmp_path) as r:
        ledger = r.ledger
        assert isinstance(ledger, WatchedLedger)
        upload = await r.written()
        await r.commit.settle(upload)
        ledger.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(r.uploads.cancel, upload)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(errors.Conflict, match="not written down yet"):
                r.claim(upload)
            ledger.gate.set()
        with pytest.raises(errors.Gone):
            r.claim(upload)


async def test_what_is_published_is_neither_cancelled_nor_claimed(tmp_path: Path) -> None:
    """Completing it again is no error."""
    async with rings(tmp_path) as r:
        upload = await r.published(name="x")
        with pytest.raises(errors.Conflict):
            await r.uploads.cancel(upload)
        with pytest.raises(errors.Conflict):
            r.claim(upload)
        published = upload.published
        await r.uploads.complete(upload)
        assert upload.published is published


@pytest.mark.parametrize("declared", [True, False])
async def test_a_wrong_digest_keeps_the_bytes(tmp_path: Path, declared: bool) -> None:
    """Finished again with the right one, it is published."""
    async with rings(tmp_path) as r:
        wrong, right = bytes(32), hashlib.sha256(b"data").digest()
        upload, claim = r.new(length=4, name="x", digest=wrong if declared else None)
        await r.append(claim, b"data", finish=True)
        with pytest.raises(errors.DigestMismatch):
            await r.uploads.complete(upload, None if declared else wrong)
        assert upload.state is State.RECEIVING
        await r.uploads.complete(upload, right)
        assert upload.state is State.PUBLISHED


@pytest.mark.parametrize("length", [None, 6])
@pytest.mark.parametrize("data", [b"", b"data"])
async def test_what_is_incomplete_is_not_called_damaged(
    tmp_path: Path, length: int | None, data: bytes
) -> None:
    """Whoever finishes too early with a digest hears what is missing."""
    async with rings(tmp_path) as r:
        upload, claim = r.new(length=length)
        if data:
            await r.append(claim, data)
        with pytest.raises(errors.Incomplete):
            await r.uploads.complete(upload, bytes(32))


async def test_an_empty_upload_is_published_empty(tmp_path: Path) -> None:
    """With the digest of nothing, too."""
    async with rings(tmp_path) as r:
        upload, _ = r.new(length=0, name="empty", digest=hashlib.sha256().digest())
        await r.uploads.complete(upload)
        assert isinstance(r.store, MemoryStore)
        assert r.store.published("empty") == b""


async def test_the_last_release_makes_durable_what_was_taken(tmp_path: Path) -> None:
    """A session that ends gives its claims back after a flush; the bytes stay."""
    async with rings(tmp_path) as r:
        upload, claim = r.new()
        intake = r.intake(claim)
        intake.put(0, b"data", cost=4)
        intake.close()
        await intake.run()
        r.uploads.release(claim)
        await r.commit.drain()
        assert upload.offset == 4


async def test_what_was_asked_for_lately_is_not_looked_up_again(tmp_path: Path) -> None:
    """And is bounded: the oldest is looked up once more."""
    async with rings(tmp_path) as r:
        ids = [str(number) for number in range(RECENT + 1)]
        uploads = [Upload(id) for id in ids]
        await r.ledger.commit(Entries([row(upload, upload.held, "boot") for upload in uploads]))
        looked: list[str] = []
        find = r.ledger.find

        async def watched_find(id: str) -> Upload | None:
            looked.append(id)
            return await find(id)

        r.ledger.find = watched_find  # type: ignore[method-assign]
        for id in [*ids, *ids[1:]]:
            await r.uploads.find(id)
        assert looked == ids
        await r.uploads.find(ids[0])
        assert looked == [*ids, ids[0]]


def test_no_id_looks_like_an_option() -> None:
    """Operators type them behind commands."""
    ids = list(islice(new_ids(), 3000))
    assert len(set(ids)) == 3000
    assert not any(id.startswith("-") for id in ids)
    assert {len(id) for id in ids} == {24}
