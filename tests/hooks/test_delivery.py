"""What is in the outbox is told: at least once, under the same id, in spite of anything."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio

from tests.hooks.listener import Listener, listening, ok
from uploadd import outbox as boxes
from uploadd.errors import NoSpace
from uploadd.hooks import Hooks, Receiver
from uploadd.hooks.delivery import Delivery, Pauses
from uploadd.ledger import Ledger
from uploadd.outbox import LONGEST_PAUSE, Outbox
from uploadd.protocol.hooks import POST_CREATE, POST_FINISH, POST_TERMINATE
from uploadd.protocol.upload import State, Upload
from uploadd.rows import UPGRADES, Entries

SOON = Pauses(first=0.001, longest=0.001, worst=0.001)
TOLD = frozenset({POST_CREATE, POST_FINISH, POST_TERMINATE})


@dataclass
class Office:
    """A ledger with an outbox, and hooks whose deliveries run."""

    ledger: Ledger
    hooks: Hooks
    outbox: Outbox

    async def post(self, *ids: str, state: State = State.PUBLISHED) -> None:
        """These uploads have ended."""
        entries = Entries()
        for id in ids:
            upload = Upload(id, state=state, length=3, enrolled=True)
            entries.events += self.hooks.events(upload, ended=True)
        await self.ledger.commit(entries)
        self.hooks.wake()

    async def until(self, condition: Callable[[list[boxes.Line]], bool]) -> list[boxes.Line]:
        """Wait until the outbox is so."""
        while not condition(found := await self.outbox.lines()):  # noqa: ASYNC110 - rows tell nobody
            await trio.sleep(0.005)
        return found

    async def empty(self) -> None:
        """Wait until nothing is left."""
        await self.until(lambda lines: not lines)


def receiver(listener: Listener, **fields: object) -> Receiver:
    """One that is told of everything."""
    made = Receiver(name="a", events=TOLD, target=listener.target)
    return replace(made, **fields)  # type: ignore[arg-type]


@asynccontextmanager
async def office(
    folder: Path,
    *receivers: Receiver,
    delivers: bool = True,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[Office]:
    """All of it; the ledger is closed in the end."""
    ledger = Ledger(str(folder / "ledger.db"))
    try:
        hooks = Hooks("/srv", {one.name: one for one in receivers})
        made = Office(ledger, hooks, Outbox(ledger))
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                if delivers:
                    nursery.start_soon(Delivery(hooks, made.outbox, pauses=SOON, now=now).run)
                yield made
                nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await ledger.aclose()


async def test_what_was_taken_is_in_the_outbox_no_more(tmp_path: Path) -> None:
    """Each event once, under its own id, in the order in which things happened."""
    ids = [f"u{number:02}" for number in range(50)]
    async with listening() as listener, office(tmp_path, receiver(listener)) as one:
        await one.post(*ids)
        await one.post("gone", state=State.EXPIRED)
        await one.empty()
        assert sorted(told.id for told in listener.told) == sorted(
            [*(f"{id}.post-finish" for id in ids), "gone.post-terminate"]
        )
        document = listener.told[0].document
        assert document["Type"] == "post-finish"
        assert document["Event"]["Upload"]["ID"] == listener.told[0].id.partition(".")[0]


async def test_without_hooks_nothing_is_written_down(tmp_path: Path) -> None:
    """An outbox that nobody reads would grow for ever."""
    async with office(tmp_path) as one:
        await one.post("a", "b")
        assert await one.outbox.lines() == []


async def test_what_fails_is_tried_again_under_the_same_id(tmp_path: Path) -> None:
    """With the same document, until it is taken."""
    async with listening() as listener, office(tmp_path, receiver(listener)) as one:
        listener.answer = lambda told: ok(status="503 No") if len(listener.told) < 4 else ok()
        await one.post("a")
        await one.empty()
        assert {(told.id, told.body) for told in listener.told} == {
            ("a.post-finish", listener.told[0].body)
        }
        assert len(listener.told) == 4


async def test_what_was_tried_too_often_is_a_dead_letter_until_somebody_retries(
    tmp_path: Path,
) -> None:
    """It says why, stays over restarts, holds up nobody, and is told when there is hope."""
    async with listening() as listener:
        bad = receiver(listener, attempts=3)
        async with office(tmp_path, bad) as one:
            listener.answer = lambda told: ok(status="500 No") if told.id[0] == "a" else ok()
            await one.post("a")
            await one.post("b")
            [line] = await one.until(lambda lines: [line.dead for line in lines] == [True])
            assert (line.event, line.attempts) == ("a.post-finish", 3)
            assert "answers 500" in line.error
        async with office(tmp_path, bad) as one:
            count = len(listener.told)
            await one.post("c")
            await listener.heard(count + 1)
            assert listener.told[-1].id == "c.post-finish"
            listener.answer = lambda told: ok()
            assert await one.outbox.retry(["b.post-finish"]) == 0
            assert await one.outbox.retry(["a.post-finish"]) == 1
            one.hooks.wake()
            await one.empty()
            assert listener.told[-1].id == "a.post-finish"


async def test_killed_before_it_is_written_down_it_is_told_again(tmp_path: Path) -> None:
    """Twice, never lost: the receiver knows it by its id."""
    (tmp_path / "later").mkdir()
    async with listening() as listener:
        async with office(tmp_path, receiver(listener)) as one:
            listener.answer = lambda told: None
            await one.post("a")
            await listener.heard(1)
            for name in ("ledger.db", "ledger.db-wal"):
                (tmp_path / "later" / name).write_bytes((tmp_path / name).read_bytes())
        listener.answer = lambda told: ok()
        async with office(tmp_path / "later", receiver(listener)) as one:
            await one.empty()
        assert [told.id for told in listener.told] == ["a.post-finish"] * 2


async def test_one_hook_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    """Nor do the events of one upload overtake one another."""
    async with listening() as slow, listening() as quick:
        slow.answer = lambda told: None
        hooks = receiver(slow, name="slow"), receiver(quick, name="quick")
        async with office(tmp_path, *hooks) as one:
            upload = Upload("x", state=State.PUBLISHED)
            await one.ledger.commit(Entries(events=one.hooks.events(upload, ended=True)))
            await one.post("a", "b", "c", "d", "e")
            await quick.heard(7)
            assert [told.id for told in quick.told if told.id[0] == "x"] == [
                "x.post-create",
                "x.post-finish",
            ]
            await slow.heard(4)
            left = await one.until(lambda lines: {line.hook for line in lines} == {"slow"})
            assert len(left) == 7
            assert "x.post-finish" not in {told.id for told in slow.told}


async def test_another_configuration_counts_at_once(tmp_path: Path) -> None:
    """What waits goes to the new address; what is for nobody any more is a dead letter."""
    async with listening() as old, listening() as new:
        old.answer = lambda told: None
        async with office(tmp_path, receiver(old), receiver(old, name="b")) as one:
            await one.post("x")
            await old.heard(2)
            one.hooks.adopt({"a": receiver(new)})
            [line] = await one.until(lambda lines: [line.dead for line in lines] == [True])
            assert (line.hook, line.error) == ("b", "there is no such hook")
            assert [told.id for told in new.told] == ["x.post-finish"]


@pytest.mark.parametrize("step", [-1e9, 1e9])
async def test_a_clock_that_steps_delays_nothing(tmp_path: Path, step: float) -> None:
    """An attempt that was put off by another clock is due."""
    clock = 2e9

    def now() -> float:
        return clock + time.monotonic()

    async with listening() as listener:
        listener.answer = lambda told: ok(status="500 No")
        async with office(tmp_path, receiver(listener), now=now) as one:
            await one.post("a")
            await listener.heard(2)
        clock += step
        listener.answer = lambda told: ok()
        async with office(tmp_path, receiver(listener), now=now) as one:
            await one.empty()


async def test_the_dead_letters_of_a_hook_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest are kept."""
    monkeypatch.setattr(boxes, "MOST_DEAD", 3)
    async with listening() as listener, office(tmp_path, receiver(listener, attempts=1)) as one:
        listener.answer = lambda told: ok(status="500 No")
        for id in "abcdef":
            await one.post(id)
        await listener.heard(6)
        left = await one.until(lambda lines: len(lines) == 3 and all(line.dead for line in lines))
        assert [line.upload for line in left] == ["d", "e", "f"]


async def test_a_ledger_that_cannot_be_written_loses_nothing(tmp_path: Path) -> None:
    """What was taken is noted when that is possible again; it may be told again, never lost."""
    async with listening() as listener, office(tmp_path, receiver(listener)) as one:
        real, faults = one.outbox.settle, [1]

        async def settle(outcomes: object) -> None:
            if faults:
                faults.pop()
                raise NoSpace("full")
            await real(outcomes)  # type: ignore[arg-type]

        one.outbox.settle = settle  # type: ignore[method-assign,assignment]
        await one.post("a")
        await one.empty()
        assert [told.id for told in listener.told] == ["a.post-finish"]


def test_pauses_grow_to_an_hour_and_are_never_the_same_for_all() -> None:
    """So that a receiver that comes back is not met by everything at once."""
    most = Pauses(draw=lambda low, high: high)
    least = Pauses(draw=lambda low, high: low)
    assert [most.after(attempts) for attempts in (1, 2, 3, 40)] == [5, 10, 20, LONGEST_PAUSE]
    assert all(least.after(n) == most.after(n) / 2 for n in range(1, 40))
    assert (least.of_hook(1), most.of_hook(100)) == (0, 30)


def test_an_older_ledger_gets_the_new_outbox(tmp_path: Path) -> None:
    """Nobody had read the old one."""
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        db.executescript("CREATE TABLE outbox (event TEXT PRIMARY KEY);")
        db.executescript(UPGRADES[4])
        assert boxes.lines(db) == []
