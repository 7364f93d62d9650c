"""What is kept for a time: no longer, and never for less, whatever the clock does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.rings import Rings, everything, remembered, rings
from tests.witness import outbox, witness
from uploadd import endings
from uploadd import expiring as module
from uploadd.ages import Ages
from uploadd.archive import FINISHED, GONE_ONES
from uploadd.errors import Gone, NotWritable
from uploadd.expiring import Expiring, Terms
from uploadd.ledger import STALE, Ledger
from uploadd.protocol.ages import MOST_OFF, Reading
from uploadd.protocol.hooks import POST_TERMINATE
from uploadd.protocol.tickets import PREFIX
from uploadd.protocol.upload import Published, State, Upload
from uploadd.rows import Entries, row
from uploadd.store.file import FileStore
from uploadd.uploads import SAID

DAY = 86_400.0
YEARS = 5 * 365 * DAY
TERMS = Terms(unfinished=7 * DAY, finished=30 * DAY, notices=30 * DAY, gone=90 * DAY)


@dataclass
class Clocks:
    """Both of them, to be set."""

    wall: float = 1.8e9
    counted: float = 100.0
    boot: str = "first"

    def read(self) -> Reading:
        """As they stand."""
        return Reading(self.wall, self.counted, self.boot)

    def pass_(self, seconds: float) -> None:
        """Time goes by."""
        self.wall, self.counted = self.wall + seconds, self.counted + seconds


@dataclass
class House:
    """Rings with clocks of their own."""

    r: Rings
    clocks: Clocks
    expiring: Expiring = field(init=False)

    def __post_init__(self) -> None:
        self.r.uploads._now = self.r.commit._now = lambda: self.clocks.wall
        self.restart()

    def restart(self) -> None:
        """Whoever looks after ages begins anew."""
        self.expiring = Expiring(self.r.uploads, Ages(self.r.ledger, self.clocks.read))

    async def begun(self) -> Upload:
        """An upload that nobody goes on with."""
        upload, claim = self.r.new(length=9)
        await self.r.append(claim, b"half")
        await self.r.commit.remember(upload)
        self.r.uploads.release(claim)
        await self.r.commit.drain()
        return upload

    async def sweep(self) -> int:
        """How many have expired."""
        return await self.expiring.sweep(TERMS)


async def test_what_nobody_goes_on_with_expires_and_stays_so(tmp_path: Path) -> None:
    """After its time, not before; 410 for good; and its hook is told."""
    async with rings(tmp_path, hooks=witness(POST_TERMINATE)) as r:
        house = House(r, Clocks())
        upload = await house.begun()
        house.clocks.pass_(7 * DAY - 1)
        assert await house.sweep() == 0
        house.clocks.pass_(2)
        [old] = await house.expiring.old(TERMS)
        assert (old.id, old.state, old.held) == (upload.id, "receiving", 4)
        assert upload.state is State.RECEIVING
        assert await house.sweep() == 1
        assert upload.state is State.EXPIRED
        with pytest.raises(Gone, match="expired"):
            r.claim(upload)
        assert [line.event for line in await outbox(r.ledger)] == [f"{upload.id}.post-terminate"]
        assert await house.sweep() == 0


async def test_whoever_holds_it_keeps_it(tmp_path: Path) -> None:
    """Also without a byte for a year; and its time begins when it is let go."""
    async with rings(tmp_path) as r:
        house = House(r, Clocks())
        upload, claim = r.new(length=9)
        await r.append(claim, b"half")
        await r.commit.remember(upload)
        house.clocks.pass_(365 * DAY)
        assert await house.sweep() == 0
        r.uploads.release(claim)
        await r.commit.drain()
        house.clocks.pass_(6 * DAY)
        assert await house.sweep() == 0
        house.clocks.pass_(2 * DAY)
        assert await house.sweep() == 1


@pytest.mark.parametrize("by", [YEARS, -YEARS])
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_clock_that_steps_expires_nothing(
    tmp_path: Path, by: float, restarted: bool
) -> None:
    """Neither what somebody has in hand nor what the ledger alone knows, nor a published file."""
    async with rings(tmp_path) as r:
        house = House(r, Clocks())
        upload, published = await house.begun(), await r.published(b"data", name="x")
        await r.commit.drain()
        assert await house.sweep() == 0
        house.clocks.pass_(DAY)
        house.clocks.wall += by
        if restarted:
            house.restart()
        later = await house.begun()
        assert await house.expiring.old(TERMS) == []
        assert await house.sweep() == 0
        found = await r.ledger.find(upload.id)
        assert found is not None
        assert abs(found.modified - upload.modified) < 1
        house.clocks.pass_(5 * DAY)
        house.clocks.wall -= by  # somebody has seen it, and sets it right
        assert await house.sweep() == 0
        house.clocks.pass_(40 * DAY)
        assert await house.sweep() == 3
        assert {one.state for one in (upload, published, later)} == {State.EXPIRED}


async def test_after_another_boot_a_day_is_the_most_that_counts(tmp_path: Path) -> None:
    """It may have been off for years, or its clock be wrong: both look the same."""
    async with rings(tmp_path) as r:
        house = House(r, Clocks())
        upload = await house.begun()
        assert await house.sweep() == 0
        house.clocks.wall, house.clocks.counted, house.clocks.boot = 2.5e9, 5.0, "second"
        house.restart()
        assert await house.sweep() == 0
        assert house.clocks.wall - upload.modified <= MOST_OFF + 1
        house.clocks.pass_(7 * DAY)
        assert await house.sweep() == 1


async def test_a_published_file_goes_when_its_time_is_over(tmp_path: Path) -> None:
    """One that was changed outside stays where it is; without a term all stay."""
    store = FileStore(str(tmp_path / "served"))
    ledger = Ledger(str(tmp_path / "ledger.db"))
    async with rings(None, store, ledger) as r:
        house = House(r, Clocks())
        for number in range(3):
            await r.published(b"data", name=f"{number}.txt")
        await r.commit.drain()
        (tmp_path / "served/1.txt").unlink()
        (tmp_path / "served/1.txt").write_bytes(b"mine")
        house.clocks.pass_(31 * DAY)
        assert await house.expiring.sweep(Terms(7 * DAY, None, DAY, DAY)) == 0
        assert len(await house.expiring.old(TERMS)) == 3
        await house.sweep()
        assert [file.name for file in (tmp_path / "served").glob("*.txt")] == ["1.txt"]
        assert (tmp_path / "served/1.txt").read_bytes() == b"mine"


async def test_reading_the_clocks_is_seldom_written_down(tmp_path: Path) -> None:
    """A disk that sleeps is not woken every minute."""
    async with rings(tmp_path) as r:
        house = House(r, Clocks())
        writes = 0
        real = r.ledger.change

        async def change(job: object) -> object:
            nonlocal writes
            writes += 1
            return await real(job)  # type: ignore[arg-type]

        r.ledger.change = change  # type: ignore[method-assign,assignment]
        for _ in range(120):
            await house.sweep()
            house.clocks.pass_(60)
        assert writes == 2


async def test_that_it_is_gone_is_forgotten_in_the_end(tmp_path: Path) -> None:
    """With its checksums; not before its time, by whatever clock; and what is not gone stays."""
    async with rings(tmp_path) as r:
        house = House(r, Clocks())
        ended, kept = await house.begun(), await r.published(b"data", name="x")
        await r.uploads.cancel(ended)
        note = "INSERT INTO sums VALUES (?, 0, x'00')"
        await r.ledger.change(lambda db: db.executemany(note, [(ended.id,), (kept.id,)]))
        terms = replace(TERMS, finished=None)
        await house.expiring.sweep(terms)
        house.clocks.wall += YEARS
        await house.expiring.sweep(terms)
        house.clocks.pass_(90 * DAY - 1)
        await house.expiring.sweep(terms)
        assert (await remembered(r, ended)).state is State.CANCELLED
        house.clocks.pass_(2)
        await house.expiring.sweep(terms)
        assert await r.ledger.find(ended.id) is None
        assert (await remembered(r, kept)).state is State.PUBLISHED
        left = await r.ledger.look(lambda db: db.execute("SELECT upload FROM sums").fetchall())
        assert left == [(kept.id,)]
        assert r.uploads.tally.removed["gone"] == 1


async def test_of_what_is_gone_the_ledger_keeps_nothing_that_was_said(tmp_path: Path) -> None:
    """For weeks, of everything that anybody has begun; the hooks are told all of it."""
    async with rings(tmp_path, hooks=witness(POST_TERMINATE)) as r:
        house = House(r, Clocks())
        said = {"said": "a lot"}
        upload = r.uploads.create(length=9, metadata=said, echo=said)
        await r.commit.remember(upload)
        assert (await remembered(r, upload)).metadata == said
        house.clocks.pass_(8 * DAY)
        assert await house.sweep() == 1
        left = await remembered(r, upload)
        assert (left.state, left.metadata, left.echo) == (State.EXPIRED, {}, {})
        [line] = await outbox(r.ledger)
        assert b"a lot" in line.payload


async def test_a_link_is_for_one_upload_however_long_ago(tmp_path: Path) -> None:
    """That it was used is not forgotten: it would be good for another."""
    async with rings(tmp_path) as r:
        house = House(r, Clocks())
        upload = await r.published(b"data", name="x", key=f"{PREFIX}one", echo={"key": "mine"})
        await r.uploads.delete(upload)
        house.clocks.pass_(1000 * DAY)
        await house.sweep()
        left = await remembered(r, upload)
        assert left.state is State.DELETED
        assert upload.echo == left.echo == {"key": "mine"}, "it says to whom it was"


async def test_many_that_are_gone_are_forgotten_little_by_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits long for the ledger; and what is found is found by an index."""
    monkeypatch.setattr(module, "AT_ONCE", 2)
    async with rings(tmp_path) as r:
        house = House(r, Clocks())
        for _ in range(5):
            await r.uploads.cancel(await house.begun())
        house.clocks.pass_(91 * DAY)
        await house.sweep()
        assert everything(r.ledger) == {}
        plans = []
        for order in (FINISHED, GONE_ONES, STALE):
            values = [0] * order.count("?")
            rows = r.ledger._reader.execute(f"EXPLAIN QUERY PLAN {order}", values).fetchall()
            plans.append(" ".join(row[3] for row in rows))
        assert "INDEX uploads_published (" in plans[0]
        assert "INDEX uploads_gone (modified<?)" in plans[1]
        assert "INDEX uploads_unfinished (state=? AND id>?)" in plans[2]
        assert not any("TEMP B-TREE" in plan for plan in plans)


async def test_what_expires_is_in_memory_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many begin something that nobody goes on with, and say a lot of it."""
    monkeypatch.setattr(endings, "AT_ONCE", 2)
    async with rings(tmp_path) as r:
        house, most = House(r, Clocks()), list[int]()
        said = {"said": "\N{GRINNING FACE}" * 3000}
        old = [Upload(f"u{n}", metadata=said) for n in range(7)]
        await r.ledger.commit(Entries([row(upload, upload.held, "boot") for upload in old]))
        del old
        real = r.uploads._end

        async def end(upload: Upload) -> None:
            most.append(sum(bool(one.metadata) for one in r.uploads.live()))
            await real(upload)

        monkeypatch.setattr(r.uploads, "_end", end)
        assert len(await house.expiring.old(TERMS)) == 7
        assert len(r.uploads.live()) <= 1
        assert await house.sweep() == 7
        assert max(most) == 1
        assert {one.state for one in everything(r.ledger).values()} == {State.EXPIRED}


async def test_what_was_asked_for_is_kept_in_memory_unless_a_lot_is_said_of_it(
    tmp_path: Path,
) -> None:
    """It would be of everybody who knows many ids."""
    async with rings(tmp_path) as r:
        said = {"a": "x" * SAID}
        made = [Upload("small"), Upload("big", metadata=said), Upload("told", echo=said)]
        await r.ledger.commit(Entries([row(upload, upload.held, "boot") for upload in made]))
        for upload in made:
            await r.uploads.find(upload.id)
        assert [upload.id for upload in r.uploads.live()] == ["small"]


async def test_a_file_that_cannot_be_removed_is_tried_again_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Less and less often; it holds up no other, and goes when it can."""
    store = FileStore(str(tmp_path / "served"))
    async with rings(None, store, Ledger(str(tmp_path / "ledger.db"))) as r:
        house = House(r, Clocks())
        bad, good = [await r.published(b"data", name=name) for name in ("bad", "good")]
        await r.commit.drain()
        house.clocks.pass_(31 * DAY)
        real, tried, broken = store.unpublish, 0, True

        async def unpublish(place: Published, length: int) -> None:
            nonlocal tried
            if place.path == "bad":
                tried += 1
                if broken:
                    raise NotWritable("no rights")
            await real(place, length)

        store.unpublish = unpublish  # type: ignore[method-assign]
        assert await house.sweep() == 1
        assert (good.state, bad.state) == (State.EXPIRED, State.PUBLISHED)
        assert r.uploads.tally.stuck == 1
        when = []
        for number in range(200):
            before = tried
            assert await house.sweep() == 0
            when += [number] if tried > before else []
        assert when == [0, 2, 6, 14, 30, 62, 126, 190]
        assert [record.levelname for record in caplog.records if bad.id in record.message] == [
            "WARNING"
        ]
        assert len(await house.expiring.old(TERMS)) == 0  # it rests
        broken = False
        assert sum([await house.sweep() for _ in range(64)]) == 1
        assert (bad.state, r.uploads.tally.stuck) == (State.EXPIRED, 0)
        assert r.uploads.tally.removed["finished"] == 2


async def test_where_nothing_can_be_removed_not_everything_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered of it has a bound."""
    monkeypatch.setattr(module, "MOST_STUCK", 2)
    async with rings(tmp_path) as r:
        house = House(r, Clocks())
        for number in range(5):
            await r.published(b"data", name=f"{number}")
        await r.commit.drain()
        house.clocks.pass_(31 * DAY)
        tried = 0

        async def unpublish(place: Published, length: int) -> None:
            nonlocal tried
            tried += 1
            raise NotWritable("read-only")

        r.store.unpublish = unpublish  # type: ignore[method-assign]
        await house.sweep()
        assert (tried, len(house.expiring.stuck)) == (2, 2)
