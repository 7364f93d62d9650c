"""The power is cut at any moment, and right after good news: what was told is there.

``pytest -s`` prints the figures; a failure names the seeds of its rounds.
"""

from __future__ import annotations

import itertools
import os
import random
import select
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.e2e.faults import Rule
from tests.e2e.oracle import GROWING, is_promise
from tests.e2e.powercut import KEEP_JOURNAL, LOSE_JOURNAL, CannotMount, Disk
from tests.e2e.zygote import PATIENCE, Zygote

LONG = [pytest.param(250, seed, marks=pytest.mark.long) for seed in range(10_000, 50_000, 10_000)]
AT_ONE_PLACE = 10
"""Rounds that go on where the one before was cut: what was recovered is recovered again."""


@dataclass
class Round:
    """What happens in one round: *scenario* runs until *fact* was told *count* times."""

    scenario: str
    fact: str
    count: int
    delay: float = 0.0
    """Seconds from then to the cut."""
    end: Literal["lose journal", "keep journal", "read-only"] = "lose journal"
    kill: bool = True
    """Whether the process is killed then; if not, it has to notice, and end by itself."""
    rules: tuple[Rule, ...] = ()
    below: str = ""
    pages: int = 0
    """Pages of the log after which the ledger makes a checkpoint, if not as always."""
    flush: Literal["files", "filesystem"] = "files"


@dataclass
class Sum:
    """What several rounds came to."""

    cuts: int = 0
    uploads: int = 0
    published: int = 0
    unfinished: int = 0
    bytes_told: int = 0
    bytes_lost: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        said = (
            f"{self.cuts} cuts, {self.uploads} uploads, {self.published} published, "
            f"{self.unfinished} unfinished, {self.bytes_told} bytes told, {self.bytes_lost} lost"
        )
        return "\n  ".join([said, *self.problems[:10]])


class Plant:
    """A disk, a process that uploads to it, and the switch."""

    def __init__(self, disk: Disk, zygote: Zygote, beside: Path) -> None:
        self._disk, self._zygote, self._beside = disk, zygote, beside
        self._places = itertools.count()
        self._pipe = str(beside / "pipe")
        os.mkfifo(self._pipe)

    def rounds(
        self, number: int, seed: int, choose: Callable[[random.Random], Round], **how: Any
    ) -> Sum:
        """*number* rounds with the seeds from *seed* on."""
        total, seeds = Sum(), list(range(seed, seed + number))
        for at in range(0, number, AT_ONE_PLACE):
            total = self._at_one_place(seeds[at : at + AT_ONE_PLACE], choose, total, how)
        print(total)
        return total

    def until_found(
        self, mistake: str, most: int, seed: int, choose: Callable[[random.Random], Round]
    ) -> Sum:
        """Rounds of a program that makes *mistake* until the oracle finds it; *most* at most."""
        total = Sum()
        while not total.problems and total.cuts < most:
            total = self._at_one_place([seed + total.cuts], choose, total, {"broken": mistake})
        print(f"{mistake}: {total}")
        return total

    def _at_one_place(
        self,
        seeds: list[int],
        choose: Callable[[random.Random], Round],
        total: Sum,
        how: dict[str, Any],
    ) -> Sum:
        place = str(next(self._places))
        store, history = self._disk.folder / place, self._beside / place
        store.mkdir()
        verdict: dict[str, Any] = {}
        for seed in seeds:
            verdict = self._round(store, history, seed, choose(random.Random(seed)), how)
            total.cuts += 1
            total.problems += [f"seed {seed}: {text}" for text in verdict["problems"]]
            total.bytes_lost += verdict["bytes_lost"]
        for name in ("uploads", "published", "unfinished", "bytes_told"):
            setattr(total, name, getattr(total, name) + verdict[name])
        shutil.rmtree(store)
        history.unlink()
        return total

    def _round(
        self, store: Path, history: Path, seed: int, this: Round, how: dict[str, Any]
    ) -> dict[str, Any]:
        """Upload until the moment has come, cut the power, and judge what is on the disk."""
        where = {"dir": str(store), "history": str(history)}
        how = {**how, "scenario": this.scenario, "seed": seed, "listener": self._pipe}
        how |= {"rules": list(map(str, this.rules)), "below": this.below, "pages": this.pages}
        how["flush"] = this.flush
        self._zygote.start("tests.e2e.driver:run", **where, **how)
        pipe = os.open(self._pipe, os.O_RDONLY)
        try:
            told = _listen(pipe, this)
            before = history.stat().st_size
            self._end(this)
            if this.kill:
                self._zygote.kill()
            ended = self._zygote.wait()
        finally:
            os.close(pipe)
        assert told or this.rules, f"seed {seed}: it ended before the cut: {ended}"
        assert ended.raised is None, f"seed {seed}: {ended.raised}"
        ends = ("stopped", "not started") if this.rules else ("stopped",)
        assert ended.signal or ended.result["outcome"] in ends, f"seed {seed}: {ended}"
        _without_power(history, before)
        self._disk.restore()
        return dict(self._zygote.result("tests.e2e.oracle:verify", **where))

    def _end(self, this: Round) -> None:
        match this.end:
            case "lose journal":
                self._disk.cut(LOSE_JOURNAL)
            case "keep journal":
                self._disk.cut(KEEP_JOURNAL)
            case "read-only":
                self._disk.turn_read_only()


def _listen(pipe: int, this: Round) -> bool:
    """Return when the moment has come, or False when the process has ended before."""
    heard, wanted = b"", f'"fact": "{this.fact}'.encode()
    while heard.count(wanted) < this.count:
        assert select.select([pipe], [], [], PATIENCE)[0], "nothing is told any more"
        data = os.read(pipe, 65536)
        if not data:
            return False
        heard += data
    select.select([], [], [], this.delay)
    return True


def _without_power(history: Path, size: int) -> None:
    """Take back what was told beyond *size*, when there was no power to tell it.

    A flush that is under way when the file system is shut down may return as if it had
    succeeded; with a real cut nobody is there any more to believe it.
    """
    told = history.read_bytes()
    kept = [line for line in told[size:].splitlines(keepends=True) if not is_promise(line)]
    history.write_bytes(told[:size] + b"".join(kept))


@pytest.fixture(scope="module")
def disk() -> Iterator[Disk]:
    """One for all tests of this module: making it takes longer than cutting it off."""
    try:
        disk = Disk()
    except CannotMount as error:
        pytest.skip(f"no disk whose power can be cut: {error}")
    yield disk
    disk.close()


@pytest.fixture
def plant(disk: Disk, zygotes: list[Zygote], memory: Path) -> Plant:
    """Ready to be cut off."""
    return Plant(disk, zygotes[0], memory)


def any_moment(rng: random.Random) -> Round:
    """After any line of the history and up to 10 ms; with or without the end of the journal."""
    return Round(
        "busy",
        "",
        rng.randint(1, 60),
        rng.choice((0, rng.uniform(0, 0.01))),
        rng.choice(("lose journal", "lose journal", "keep journal")),
        rng.random() < 0.5,
        pages=rng.choice((0, 8)),
        flush=rng.choice(("files", "files", "filesystem")),
    )


def after(scenario: str, fact: str) -> Callable[[random.Random], Round]:
    """Right after one of the first few times that *fact* is told."""
    return lambda rng: Round(scenario, fact, rng.randint(1, 4), kill=rng.random() < 0.5)


def bodies(rng: random.Random) -> Round:
    """Any moment of large bodies over HTTP."""
    this = any_moment(rng)
    this.scenario = "kernel"
    return this


def read_only(rng: random.Random) -> Round:
    """The kernel finds the file system damaged."""
    return Round("busy", "", rng.randint(1, 60), end="read-only", kill=False)


def after_a_failed_flush(rng: random.Random, below: str = GROWING) -> Round:
    """A flush fails, the next ones of that file only seem to work, and then the power is cut."""
    lie = Rule("lie", n := rng.randint(1, 10), n, ("fdatasync",))
    return Round("busy", "", rng.randint(20, 60), rules=(lie,), below=below)


def after_a_failed_commit(rng: random.Random) -> Round:
    """The same anywhere: most flushes are those of the ledger, and then the daemon has to end."""
    return after_a_failed_flush(rng, "")


@pytest.mark.parametrize(("rounds", "seed"), [(50, 1000), *LONG])
def test_cut_at_any_moment_nothing_that_was_told_is_lost(
    plant: Plant, rounds: int, seed: int
) -> None:
    """Six clients with all kinds of uploads; half of the times the daemon has to notice."""
    total = plant.rounds(rounds, seed, any_moment)
    assert not total.problems, str(total)
    assert total.published
    assert total.unfinished


@pytest.mark.parametrize(("rounds", "seed"), [(50, 5000), *LONG])
def test_cut_right_after_published_was_told_the_file_is_there(
    plant: Plant, rounds: int, seed: int
) -> None:
    """Under its name, whole, and so are those before it."""
    total = plant.rounds(rounds, seed, after("published", "published"))
    assert not total.problems, str(total)
    assert total.published >= rounds


@pytest.mark.parametrize("rounds", [20, pytest.param(250, marks=pytest.mark.long)])
def test_cut_while_the_kernel_moves_bodies_nothing_that_was_told_is_lost(
    plant: Plant, rounds: int
) -> None:
    """Over HTTP, large and small flushes at once, connections cut; small uploads beside them."""
    total = plant.rounds(rounds, 80_000, bodies)
    assert not total.problems, str(total)
    assert total.bytes_told > rounds * 20_000


@pytest.mark.parametrize("rounds", [10, pytest.param(200, marks=pytest.mark.long)])
def test_a_file_system_that_turns_read_only_ends_the_daemon(plant: Plant, rounds: int) -> None:
    """With the error that a medium has failed, and with nothing lost."""
    total = plant.rounds(rounds, 7000, read_only)
    assert not total.problems, str(total)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("choose", [after_a_failed_flush, after_a_failed_commit])
@pytest.mark.parametrize("rounds", [20, pytest.param(250, marks=pytest.mark.long)])
def test_a_flush_that_failed_is_not_trusted_when_it_seems_to_work_again(
    plant: Plant, rounds: int, choose: Callable[[random.Random], Round]
) -> None:
    """Linux tells a failed write-back once; the pages are gone, and the next fsync succeeds."""
    total = plant.rounds(rounds, 9000, choose)
    assert not total.problems, str(total)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("mistake", "choose"),
    [
        ("early", after("busy", "offset")),  # offsets are told before the flush
        ("no flush", after("busy", "offset")),
        ("no flush", after("kernel", "offset")),
        ("no commit", after("busy", "offset")),  # to the ledger, in the sense of fsync
        ("no folder sync", after("published", "published")),
        ("sync again", after_a_failed_flush),  # as if the error had not been
    ],
)
def test_the_oracle_finds_a_daemon_that_tells_too_much(
    plant: Plant, mistake: str, choose: Callable[[random.Random], Round]
) -> None:
    """Each mistake that people make with fsync is found, so the tests above can fail."""
    total = plant.until_found(mistake, 60, 90_000, choose)
    assert total.problems, f"{mistake} is not found: {total}"
