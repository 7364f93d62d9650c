"""Lists and notices of a real ledger: paged, bounded, kept over restarts and upgrades."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from uploadd import archive as module
from uploadd.archive import Archive
from uploadd.auth import anonymous
from uploadd.errors import NoSpace, StoreError, TooMany
from uploadd.ledger import Ledger
from uploadd.protocol.extents import Extents
from uploadd.protocol.questions import Listing
from uploadd.protocol.seen import Seen
from uploadd.protocol.upload import Published, State, Upload
from uploadd.rows import MOST_NOTICES, SCHEMA_VERSION, Entries, row
from uploadd.store.contract import MediumFailed

MINE, OTHER = anonymous("m" * 22).owner, anonymous("o" * 22).owner
EVERYTHING = Listing(states=frozenset(Seen))


def entries(*uploads: Upload, now: float = 1.0) -> Entries:
    """What the group commit writes of uploads that have ended, or not."""
    found = Entries()
    for upload in uploads:
        found.rows.append(row(upload, upload.held, "boot"))
        found.note(upload, now)
    return found


def published(id: str, **members: object) -> Upload:
    """A complete upload."""
    upload = Upload(id, state=State.PUBLISHED, **members)  # type: ignore[arg-type]
    upload.published = Published(id, 7)
    upload.identity = upload.published.identity
    return upload


async def pages(archive: Archive, asked: Listing, owner: str | None = None) -> list[list[str]]:
    """The ids of all pages."""
    found, before = [], None
    while True:
        page = await archive.page(asked._replace(before=before), owner)
        found.append([upload.id for upload in page.uploads])
        if page.last is None:
            return found
        before = page.last


@given(
    uploads=st.lists(
        st.tuples(
            st.integers(0, 5), st.sampled_from(list(State)), st.sampled_from(["", MINE, OTHER])
        ),
        max_size=30,
    ),
    states=st.frozensets(st.sampled_from(list(Seen)), min_size=1),
    limit=st.integers(1, 7),
    scan=st.integers(1, 9),
    said=st.integers(0, 99),
    mine=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_pages_hold_everything_that_was_asked_for_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    uploads: list[tuple[int, State, str]],
    states: frozenset[Seen],
    limit: int,
    scan: int,
    said: int,
    mine: bool,
) -> None:
    """Also where many were created at one moment, where a page may look at few rows only, and where
    clients have said more of them than there is room for.
    """
    made = [
        Upload(f"u{n:02}", created=float(created), state=state, owner=owner, name=f"N{n % 3}")
        for n, (created, state, owner) in enumerate(uploads)
    ]
    for upload in made:
        upload.metadata = {"name": upload.name * 5}

    async def run() -> list[list[str]]:
        ledger = Ledger(str(tmp_path_factory.mktemp("ledger") / "ledger.db"), durable=False)
        await ledger.commit(entries(*made))
        asked = Listing(states=states, limit=limit, name="n1")
        found = await pages(Archive(ledger), asked, MINE if mine else None)
        await ledger.aclose()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SCAN", scan)
        patch.setattr(module, "SAID", said)
        patch.setattr(module, "FEW", 1)
        found = trio.run(run)
    from_ledger = {state for word in states for state in module.KEPT_AS[word]}
    wanted = [
        upload
        for upload in sorted(made, key=lambda one: (one.created, one.id), reverse=True)
        if upload.state in from_ledger
        and upload.name == "N1"
        and (not mine or upload.owner == MINE)
    ]
    assert [id for page in found for id in page] == [upload.id for upload in wanted]
    assert all(len(page) <= min(limit, said // len("nameN1N1N1N1N1") + 1) for page in found)


@contextmanager
def long_search() -> Iterator[threading.Event]:
    """Every search for a name lasts until the event is set."""
    gate = threading.Event()

    def folded(name: str | None) -> str:
        gate.wait()
        return (name or "").casefold()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_folded", folded)
        try:
            yield gate
        finally:
            gate.set()


async def test_whoever_looks_up_an_upload_waits_for_no_search(tmp_path: Path) -> None:
    """Nor does a commit; the search finds what it should all the same."""
    ledger = Ledger(str(tmp_path / "ledger.db"), durable=False)
    await ledger.commit(entries(published("u", name="Name", key="k")))
    found: list[list[list[str]]] = []

    async def search() -> None:
        found.append(await pages(Archive(ledger), EVERYTHING._replace(name="name")))

    async with trio.open_nursery() as nursery:
        with long_search(), trio.fail_after(20):
            nursery.start_soon(search)
            await wait_all_tasks_blocked()
            assert await ledger.find("u") is not None
            assert await ledger.find_key("", "k") is not None
            await ledger.commit(entries(Upload("v")))
            assert found == []
    assert found == [[["u"]]]
    await ledger.aclose()


async def test_searches_are_bounded_and_lists_without_a_name_are_not(tmp_path: Path) -> None:
    """One more is told to come back; and can, when another has ended."""
    ledger = Ledger(str(tmp_path / "ledger.db"), durable=False)
    await ledger.commit(entries(published("u", name="Name")))
    archive, named = Archive(ledger), EVERYTHING._replace(name="name")
    async with trio.open_nursery() as nursery:
        with long_search():
            for _ in range(module.SEARCHES):
                nursery.start_soon(archive.page, named, None)
            await wait_all_tasks_blocked()
            nursery.start_soon(archive.page, EVERYTHING, None)
            await wait_all_tasks_blocked()
            with pytest.raises(TooMany, match="16 searches"):
                await archive.page(named, None)
    assert len((await archive.page(named, None)).uploads) == 1
    await ledger.aclose()


async def test_what_was_read_is_written_once(tmp_path: Path) -> None:
    """Saying it again writes nothing, however many ids are named however often."""
    ledger = Ledger(str(tmp_path / "ledger.db"), durable=False)
    archive = Archive(ledger)
    await ledger.commit(entries(*(published(f"u{n}", owner=MINE) for n in range(3))))
    await ledger.commit(entries(published("other", owner=OTHER)))
    changes = ledger._writer.total_changes
    await archive.read(MINE, ["u1.published", "other.published", "none"] * 500)
    assert ledger._writer.total_changes == changes + 1
    for _ in range(2):
        await archive.read(MINE, None)
        assert ledger._writer.total_changes == changes + 3
    assert len(await archive.notices(OTHER, unread=True)) == 1
    await ledger.aclose()


async def test_what_unfinished_uploads_hold_is_counted(tmp_path: Path) -> None:
    """Durable bytes of what may still go on, and of nothing else."""
    ledger = Ledger(str(tmp_path / "ledger.db"), durable=False)
    archive = Archive(ledger)
    assert await archive.unfinished() == (0, 0)
    half = Upload("half", held=Extents([(0, 60), (100, 140)]), length=200)
    gone = Upload("gone", state=State.CANCELLED, held=Extents([(0, 7)]))
    await ledger.commit(entries(half, Upload("new"), gone, published("whole", length=9)))
    assert await archive.unfinished() == (2, 100)
    await ledger.aclose()


async def test_notices_are_bounded_for_each_owner(tmp_path: Path) -> None:
    """The oldest go; those of others stay; those of nobody in particular are not kept."""
    ledger = Ledger(str(tmp_path / "ledger.db"))
    archive = Archive(ledger)
    await ledger.commit(entries(published("other", owner=OTHER)))
    for n in range(MOST_NOTICES + 20):
        await ledger.commit(entries(published(f"u{n}", owner=MINE), now=float(n)))
    weak = anonymous("short").owner
    await ledger.commit(entries(published("weak", owner=weak), published("nobody")))
    mine = await archive.notices(MINE, unread=False)
    assert [kept.notice.upload for kept in mine] == [
        f"u{n}" for n in reversed(range(20, MOST_NOTICES + 20))
    ]
    assert len(await archive.notices(OTHER, unread=True)) == 1
    assert (
        await archive.notices(weak, unread=False) == await archive.notices("", unread=False) == []
    )
    await ledger.aclose()


@pytest.mark.parametrize("state", list(State))
async def test_how_things_ended_is_noted_once_and_kept_over_a_restart(
    tmp_path: Path, state: State
) -> None:
    """What its owner did is no news; saying it again changes nothing, read or not."""
    path = str(tmp_path / "ledger.db")
    upload = published("u", owner=MINE, name="a") if state is State.PUBLISHED else None
    upload = upload or Upload("u", owner=MINE, state=state, name="a")
    for turn in range(2):
        ledger = Ledger(path)
        await ledger.commit(entries(upload, now=1.0 + turn))
        found = await Archive(ledger).notices(MINE, unread=turn == 0)
        words = {State.PUBLISHED: "published", State.EXPIRED: "expired"}
        words |= {State.FAILED: "failed", State.LOST: "failed"}
        assert [kept.notice.state for kept in found] == ([words[state]] if state in words else [])
        assert all(kept.notice.at == 1.0 and kept.read is (turn == 1) for kept in found)
        await Archive(ledger).read(MINE, None)
        await ledger.aclose()


async def test_notices_expire(tmp_path: Path) -> None:
    """By their age; and looking whether any has writes nothing."""
    ledger = Ledger(str(tmp_path / "ledger.db"))
    archive = Archive(ledger)
    for n in range(4):
        await ledger.commit(entries(published(f"u{n}", owner=MINE), now=float(n)))
    changes = ledger._writer.total_changes
    await archive.forget(0.0)
    assert ledger._writer.total_changes == changes
    await archive.forget(2.0)
    assert [kept.notice.upload for kept in await archive.notices(MINE, unread=True)] == ["u3", "u2"]
    await ledger.aclose()


async def test_a_disk_without_room_is_told_and_a_broken_ledger_ends_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next commit: nobody may be told of anything after that."""
    ledger = Ledger(str(tmp_path / "ledger.db"))
    archive = Archive(ledger)
    await ledger.commit(entries(published("u", owner=MINE)))
    full = sqlite3.OperationalError("full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL

    def fail(error: sqlite3.Error) -> None:
        def transact(job: object) -> None:
            raise error

        monkeypatch.setattr(ledger, "_transact", transact)

    fail(full)
    with pytest.raises(NoSpace):
        await archive.read(MINE, None)
    monkeypatch.undo()
    await ledger.commit(entries(published("v", owner=MINE)))
    fail(sqlite3.OperationalError("disk I/O error"))
    with pytest.raises(StoreError):
        await archive.read(MINE, None)
    monkeypatch.undo()
    with pytest.raises(MediumFailed):
        await ledger.commit(entries(published("w", owner=MINE)))


async def test_a_ledger_of_every_older_version_is_brought_up_to_date(tmp_path: Path) -> None:
    """What it holds stays, and can be listed."""
    path = tmp_path / "ledger.db"
    ledger = Ledger(str(path))
    await ledger.commit(entries(published("u", created=5.0, name="a")))
    await ledger.aclose()
    for older in range(1, SCHEMA_VERSION):
        db = sqlite3.connect(path)
        for index in ("uploads_published", "uploads_gone"):
            db.execute(f"DROP INDEX {index}")
        for table in ("clocks", "sums") if older < 5 else ():
            db.execute(f"DROP TABLE {table}")
        if older < 4:
            for index in ("uploads_listed", "uploads_owned", "notices_owner"):
                db.execute(f"DROP INDEX {index}")
            db.execute("DROP TABLE notices")
        if older < 3:
            db.execute("ALTER TABLE uploads DROP COLUMN mark")
        if older < 2:
            db.execute("ALTER TABLE uploads DROP COLUMN echo")
        db.execute(f"PRAGMA user_version={older}")
        db.commit()
        db.close()
        ledger = Ledger(str(path))
        [page] = await pages(Archive(ledger), EVERYTHING)
        assert page[0] == "u"
        await ledger.commit(entries(published(f"v{older}", owner=MINE)))
        told = await Archive(ledger).notices(MINE, unread=True)
        assert len(told) == max(1, older - 2)
        await ledger.aclose()
