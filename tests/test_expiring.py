"""What is kept for a time: no longer, and never for less, whatever the clock does."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.rings import Rings, rings
from tests.witness import outbox, witness
from uploadd.ages import Ages
from uploadd.errors import Gone
from uploadd.expiring import Expiring, Terms
from uploadd.ledger import Ledger
from uploadd.protocol.ages import MOST_OFF, Reading
from uploadd.protocol.hooks import POST_TERMINATE
from uploadd.protocol.upload import State, Upload
from uploadd.store.file import FileStore

DAY = 86_400.0
YEARS = 5 * 365 * DAY
TERMS = Terms(unfinished=7 * DAY, finished=30 * DAY, notices=30 * DAY)


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
        assert await house.expiring.sweep(Terms(7 * DAY, None, DAY)) == 0
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
