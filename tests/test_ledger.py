"""The ledger: rows come back as they were, a transaction is all or nothing, no room is told."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.witness import outbox
from uploadd import ledger as module
from uploadd.errors import NoSpace, NotWritable
from uploadd.ledger import BALLAST, Ledger
from uploadd.protocol.extents import NOTHING, Extents
from uploadd.protocol.upload import GONE, Identity, Published, State, Upload
from uploadd.rows import SCHEMA_VERSION, Entries, Event, row, upload_of
from uploadd.store.contract import MediumFailed

text = st.text(max_size=20)
offsets = st.integers(0, 2**53)
uploads = st.builds(
    Upload,
    id=st.uuids().map(str),
    name=st.none() | text,
    length=st.none() | offsets,
    media_type=st.none() | text,
    metadata=st.dictionaries(text, text, max_size=3),
    echo=st.dictionaries(text, text, max_size=3),
    owner=text,
    key=st.none() | text,
    digest=st.none() | st.binary(min_size=32, max_size=32),
    created=st.floats(0, 2**40),
    modified=st.floats(0, 2**40),
    state=st.sampled_from(State),
    held=st.lists(st.tuples(offsets, offsets).map(lambda p: (min(p), max(p)))).map(Extents),
    fence=st.integers(0, 2**53),
    intent=text,
    identity=st.builds(Identity, st.integers(1, 2**64 - 1), st.none() | st.binary(max_size=9)),
)
FIELDS = [name for name in Upload.__dataclass_fields__ if name not in ("enrolled", "published")]


def same(found: Upload | None, upload: Upload) -> bool:
    """Whether everything that a row keeps is as it was."""
    if upload.state in GONE:
        upload = replace(upload, metadata={}, echo=upload.echo if upload.key is not None else {})
    return found is not None and all(getattr(found, n) == getattr(upload, n) for n in FIELDS)


def rows(*uploads: Upload) -> Entries:
    """What writes them as they are."""
    return Entries([row(upload, upload.held, "boot") for upload in uploads])


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """An empty one."""
    ledger = Ledger(str(tmp_path / "ledger.db"))
    yield ledger
    await ledger.aclose()


# --- rows -----------------------------------------------------------------------------------


@given(upload=uploads, boot=text)
def test_an_upload_comes_back_as_it_went(upload: Upload, boot: str) -> None:
    """Every field, but for what was said of what is gone; once it is published, where it lies."""
    found, told = upload_of(row(upload, upload.held, boot))
    assert told == boot
    assert found.enrolled
    assert same(found, upload)
    published = Published(upload.intent or "", *(upload.identity or ()))
    assert found.published == (published if upload.state is State.PUBLISHED else None)


@given(several=st.lists(uploads, min_size=1, max_size=4, unique_by=lambda u: (u.owner, u.key)))
@settings(max_examples=25)
async def test_the_file_keeps_rows_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, several: list[Upload]
) -> None:
    """Through SQLite and its types, and found by id and by key."""
    ledger = Ledger(str(tmp_path_factory.mktemp("ledger") / "ledger.db"))
    await ledger.commit(rows(*several))
    for upload in several:
        assert same(await ledger.find(upload.id), upload)
        if upload.key is not None:
            assert same(await ledger.find_key(upload.owner, upload.key), upload)
            (found,) = await ledger.find_all(["none"], upload.owner, [upload.key, "none"])
            assert same(found, upload)
    together = await ledger.find_all([upload.id for upload in several], "", [])
    assert sorted(upload.id for upload in together) == sorted(upload.id for upload in several)
    unfinished = {one.id: one for one in await ledger.unfinished()}
    wanted = (State.RECEIVING, State.FINALIZING)
    assert unfinished == {u.id: (u.id, u.state, u.held) for u in several if u.state in wanted}
    await ledger.aclose()


async def test_what_is_not_there_is_not_found(ledger: Ledger) -> None:
    """Neither by id nor by key, nor by the key of somebody else."""
    await ledger.commit(rows(Upload("a", owner="ann", key="k")))
    assert await ledger.find("b") is None
    assert await ledger.find_key("bob", "k") is None
    assert await ledger.find_key("ann", "a") is None


# --- transactions ---------------------------------------------------------------------------


async def test_a_row_of_an_older_fence_is_refused_with_all_that_came_with_it(
    ledger: Ledger,
) -> None:
    """The one who was taken over, perhaps in another process, writes nothing: MediumFailed."""
    await ledger.commit(rows(Upload("a", fence=5, length=1)))
    await ledger.commit(rows(Upload("a", fence=5, length=2)))
    await ledger.commit(rows(Upload("a", fence=6, length=3)))
    entries = rows(Upload("b"), Upload("a", fence=5, length=4), Upload("c"))
    entries.events.append(Event("e", "h", "a", "post-finish", 0.0, b"{}"))
    with pytest.raises(MediumFailed, match="older fence"):
        await ledger.commit(entries)
    assert [await ledger.find(id) for id in "bc"] == [None, None]
    assert await outbox(ledger) == []
    assert same(await ledger.find("a"), Upload("a", fence=6, length=3))
    await ledger.commit(rows(Upload("d")))


async def test_an_event_is_kept_once_however_often_it_is_written(ledger: Ledger) -> None:
    """For each hook: its id is the same whenever the step is repeated."""
    events = [Event(e, h, "a", "post-finish", 1.0, b"{}") for e in ("y", "x") for h in "gh"]
    for _ in range(2):
        await ledger.commit(Entries(events=events))
    assert [(line.event, line.hook) for line in await outbox(ledger)] == [
        (event.id, event.hook) for event in events
    ]


async def test_what_was_committed_is_found_after_a_crash(tmp_path: Path) -> None:
    """Without closing, from a copy of the files as they lie there."""
    ledger = Ledger(str(tmp_path / "ledger.db"))
    upload = Upload("a", held=Extents([(0, 7), (9, 12)]))
    await ledger.commit(rows(upload))
    (tmp_path / "copy").mkdir()
    for name in ("ledger.db", "ledger.db-wal"):
        shutil.copy(tmp_path / name, tmp_path / "copy" / name)
    await ledger.aclose()
    after = Ledger(str(tmp_path / "copy/ledger.db"))
    assert same(await after.find("a"), upload)
    await after.aclose()


async def test_somebody_else_may_hold_the_file_for_a_moment(tmp_path: Path, ledger: Ledger) -> None:
    """An operator with a shell of SQLite's, or a backup: that is waited for, and is no end."""
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with closing(other):
        ends = threading.Timer(0.1, other.execute, ["ROLLBACK"])
        ends.start()
        await ledger.commit(rows(Upload(id="a")))
        ends.join()
    assert await ledger.find("a") is not None


async def test_a_commit_that_is_cancelled_was_not_begun_or_is_done(ledger: Ledger) -> None:
    """Never half."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await ledger.commit(rows(Upload("a"), Upload("b")))
    assert [await ledger.find(id) for id in "ab"] == [None, None]


async def test_the_log_is_folded_into_the_file_when_it_has_grown_and_not_each_time(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between batches, every so many pages."""
    monkeypatch.setattr(module, "CHECKPOINT_PAGES", 50)
    log, sizes = tmp_path / "ledger.db-wal", []
    for number in range(60):
        await ledger.commit(rows(Upload(str(number))))
        sizes.append(log.stat().st_size)
    shrunk = [after for before, after in pairwise(sizes) if after < before]
    assert 1 <= len(shrunk) <= 20
    assert max(sizes) <= 60 * 4200
    assert len(await ledger.unfinished()) == 60


async def test_a_commit_waits_for_one_change_at_most(ledger: Ledger) -> None:
    """However many want to change what no upload depends on."""
    done, begun, gate = list[str](), threading.Event(), threading.Event()

    def job(db: sqlite3.Connection) -> None:
        begun.set()
        gate.wait()
        db.execute("DELETE FROM clocks")

    ledger._writer.set_trace_callback(done.append)
    async with trio.open_nursery() as nursery:
        for _ in range(9):
            nursery.start_soon(ledger.change, job)
        await trio.to_thread.run_sync(begun.wait)
        await wait_all_tasks_blocked()
        nursery.start_soon(ledger.commit, rows(Upload("a")))
        await wait_all_tasks_blocked()
        gate.set()
    verbs = [statement.split()[0] for statement in done]
    assert [verb for verb in verbs if verb in ("DELETE", "INSERT")] == [
        *("DELETE", "INSERT"),
        *["DELETE"] * 8,
    ]


# --- a full disk ----------------------------------------------------------------------------


async def test_a_full_disk_loses_nothing_and_goes_on_when_there_is_room(
    ledger: Ledger, tmp_path: Path
) -> None:
    """The ballast is given up; then it is told, again and again, and the old rows stay."""
    ballast = tmp_path / "ledger.db-ballast"
    assert ballast.stat().st_size == BALLAST
    await ledger.commit(rows(Upload("a")))
    (pages,) = ledger._writer.execute("PRAGMA page_count").fetchone()
    ledger._writer.execute(f"PRAGMA max_page_count={pages}")
    many = [Upload(f"b{number}", name="x" * 500) for number in range(50)]
    for _ in range(3):
        with pytest.raises(NoSpace):
            await ledger.commit(rows(*many))
        assert not ballast.exists()
        assert await ledger.find("b0") is None
        await ledger.commit(rows(Upload("a", fence=1)))  # what needs no room goes on
    ledger._writer.execute(f"PRAGMA max_page_count={pages + 100}")
    await ledger.commit(rows(*many))
    assert len(await ledger.unfinished()) == 51


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Path]:
    """A file system of 3 MiB of its own."""
    (folder := tmp_path / "small").mkdir()
    mounted = shutil.which("mount") and not os.system(
        f"mount -t tmpfs -o size=3M none {folder} 2>/dev/null"
    )
    if not mounted:
        pytest.skip("may not mount here")
    yield folder
    os.system(f"umount -l {folder}")


async def test_on_a_disk_that_is_really_full_an_end_can_still_be_remembered(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is what the ballast is for: who cancels, frees room.  It comes back later."""
    monkeypatch.setattr(module, "CHECKPOINT_PAGES", 10)
    ledger = Ledger(str(small / "ledger.db"))
    await ledger.commit(rows(*(Upload(str(number)) for number in range(100))))
    with open(small / "somebody-else", "wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1000)):
            pass
    cancelled = (Upload(str(number), state=State.CANCELLED) for number in range(100))
    kept = []
    for upload in cancelled:
        await ledger.commit(rows(upload))
        kept.append((small / "ledger.db-ballast").exists())
    assert await ledger.unfinished() == []
    assert not all(kept)
    with pytest.raises(NoSpace):
        await ledger.commit(rows(*(Upload(f"n{n}", name="x" * 1000) for n in range(3000))))
    assert await ledger.unfinished() == []
    (small / "somebody-else").unlink()
    await ledger.commit(rows(*(Upload(f"n{n}") for n in range(1000))))
    assert (small / "ledger.db-ballast").stat().st_size == BALLAST
    await ledger.aclose()
    ledger = Ledger(str(small / "ledger.db"))
    assert len(await ledger.unfinished()) == 1000
    await ledger.aclose()


# --- opening --------------------------------------------------------------------------------


async def test_opening_again_finds_everything_in_any_folder(tmp_path: Path) -> None:
    """Also where the folder's name means something in a URI."""
    (folder := tmp_path / "what? 50%25 #1").mkdir()
    for fence in range(3):
        ledger = Ledger(str(folder / "ledger.db"), durable=fence != 1)
        assert fence == 0 or same(await ledger.find("a"), Upload("a", fence=fence - 1))
        await ledger.commit(rows(Upload("a", fence=fence)))
        await ledger.aclose()
    assert sorted(os.listdir(folder)) == ["ledger.db", "ledger.db-ballast"]


def version(path: Path, number: int) -> None:
    """Write a file of that schema version."""
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version={number}")
    db.close()


@pytest.mark.parametrize("bad", ["garbage", "newer", "folder", "nowhere"])
async def test_a_file_that_is_no_ledger_of_ours_is_told_and_left_alone(
    tmp_path: Path, bad: str
) -> None:
    """NotWritable, with what to do about it."""
    path = tmp_path / "ledger.db"
    match bad:
        case "garbage":
            path.write_bytes(b"This is not a database. " * 100)
        case "newer":
            version(path, SCHEMA_VERSION + 1)
        case "folder":
            path.mkdir()
        case "nowhere":
            path = tmp_path / "missing/ledger.db"
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(NotWritable, match="cannot open the ledger") as told:
        Ledger(str(path))
    assert str(path) in told.value.message
    hint = told.value.hint or ""
    assert ("install the version that wrote it" if bad == "newer" else "growing/ away") in hint
    if bad == "newer":
        assert f"schema {SCHEMA_VERSION + 1}" in told.value.message
    if bad == "garbage":
        assert path.read_bytes() == before


async def test_a_ledger_that_breaks_is_the_end(ledger: Ledger) -> None:
    """What is not a full disk is not tried again."""
    ledger._writer.execute("DROP TABLE uploads")
    with pytest.raises(MediumFailed, match="the ledger failed"):
        await ledger.commit(rows(Upload("a", held=NOTHING)))


# What 0.1.0 wrote before it told a file from a later one with its inode, and before `echo`.
OLDER = {
    1: "CREATE TABLE uploads (id TEXT PRIMARY KEY, state TEXT NOT NULL, held TEXT NOT NULL, "
    "fence INTEGER NOT NULL, name TEXT, length INTEGER, media_type TEXT, metadata TEXT NOT NULL, "
    "owner TEXT NOT NULL, key TEXT, digest BLOB, created REAL NOT NULL, modified REAL NOT NULL, "
    "path TEXT, inode INTEGER, boot TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE outbox (event TEXT PRIMARY KEY, upload TEXT NOT NULL, kind TEXT NOT NULL, "
    "created REAL NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT INTO uploads VALUES ('a', 'published', '0-4', 1, 'x', 4, NULL, '{}', '', NULL, NULL, "
    "1.0, 2.0, 'x', 77, 'boot');",
}
OLDER[2] = OLDER[1].replace("boot TEXT NOT NULL)", "boot TEXT NOT NULL, echo TEXT NOT NULL)")
OLDER[2] = OLDER[2].replace("'boot')", "'boot', '{}')")


@pytest.mark.parametrize("schema", OLDER)
async def test_what_an_older_daemon_wrote_is_taken_over(tmp_path: Path, schema: int) -> None:
    """With no mark: its files are known by inode and length, as they were then."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(OLDER[schema] + f"PRAGMA user_version={schema};")
    for _ in range(2):
        ledger = Ledger(str(path))
        found = await ledger.find("a")
        assert found is not None
        assert found.published == Published("x", 77)
        await ledger.commit(rows(Upload("b", fence=3, identity=Identity(7, b"mark"))))
        told = await ledger.find("b")
        assert told is not None
        assert told.identity == Identity(7, b"mark")
        await ledger.aclose()
