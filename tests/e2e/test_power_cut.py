"""The power is cut, at any moment and right after good news: what was told is there.

Figures of a run are printed (``pytest -s``); the seed of a round is in the message when it fails.
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
from typing import Any

import pytest

from tests.e2e import faults
from tests.e2e.faults import FOREVER, Rule
from tests.e2e.powercut import KEEP_JOURNAL, LOSE_JOURNAL, CannotMount, Disk
from tests.e2e.zygote import PATIENCE, Zygote

ROUNDS = 50
MANY = 1000
AT_ONE_PLACE = 10
"""Rounds that go on where the one before was cut: recovery of what was recovered."""


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
        return (
            f"{self.cuts} cuts: {self.uploads} uploads, {self.published} published, "
            f"{self.unfinished} unfinished; {self.bytes_told} bytes told, {self.bytes_lost} lost; "
            f"problems: {self.problems[:5]}"
        )


class Plant:
    """A disk, a process that uploads to it, and the switch."""

    def __init__(self, disk: Disk, zygote: Zygote, beside: Path) -> None:
        self._disk, self._zygote, self._beside = disk, zygote, beside
        self._places = itertools.count()
        self._pipe = str(beside / "pipe")
        os.mkfifo(self._pipe)

    def rounds(self, number: int, first_seed: int, play: Callable[[random.Random], dict], **how: Any) -> Sum:
        """*number* rounds, each with a seed of its own."""
        total = Sum()
        for start in range(0, number, AT_ONE_PLACE):
            place = f"{first_seed}-{next(self._places)}"
            store, history = self._disk.folder / place, self._beside / place
            store.mkdir()
            for seed in range(first_seed + start, first_seed + min(number, start + AT_ONE_PLACE)):
                verdict = self.round(store, history, seed, play(random.Random(seed)), **how)
                total.cuts += 1
                total.problems += [f"seed {seed}: {text}" for text in verdict["problems"]]
                total.bytes_lost += verdict["bytes_lost"]
            for name in ("uploads", "published", "unfinished", "bytes_told"):
                setattr(total, name, getattr(total, name) + verdict[name])
            shutil.rmtree(store)
            history.unlink()
        return total

    def round(
        self, store: Path, history: Path, seed: int, cut: dict[str, Any], **how: Any
    ) -> dict[str, Any]:
        """Upload until *cut* says so, cut the power, kill what is left, and judge."""
        where = {"dir": str(store), "history": str(history)}
        self._zygote.start("tests.e2e.driver:run", **where, seed=seed, listener=self._pipe, **how)
        pipe = os.open(self._pipe, os.O_RDONLY)
        try:
            _listen(pipe, cut["fact"], cut["count"], cut["delay"])
            self._disk.cut(cut["journal"])
            if cut["kill"]:
                self._zygote.kill()
            ended = self._zygote.wait()
        finally:
            os.close(pipe)
        assert ended.raised is None, f"seed {seed}: {ended.raised}"
        assert ended.signal or ended.result["outcome"] == "stopped", f"seed {seed}: {ended}"
        self._disk.restore()
        return dict(self._zygote.result("tests.e2e.oracle:verify", **where))


def _listen(pipe: int, fact: str, count: int, delay: float) -> None:
    """Return *delay* seconds after *fact* was told *count* times."""
    heard = b""
    while heard.count(f'"fact": "{fact}'.encode()) < count:
        assert select.select([pipe], [], [], PATIENCE)[0], "nothing is told any more"
        data = os.read(pipe, 65536)
        assert data, "it ended before the cut"
        heard += data
    select.select([], [], [], delay)


@pytest.fixture(scope="module")
def disk() -> Iterator[Disk]:
    try:
        disk = Disk()
    except CannotMount as error:
        pytest.skip(f"no disk whose power can be cut: {error}")
    yield disk
    disk.close()


@pytest.fixture
def plant(disk: Disk, zygotes: list[Zygote], memory: Path) -> Plant:
    return Plant(disk, zygotes[0], memory)


def any_moment(rng: random.Random) -> dict[str, Any]:
    """After any line of the history, and up to 10 ms."""
    return {
        "fact": "",
        "count": rng.randint(1, 60),
        "delay": rng.choice((0, rng.uniform(0, 0.01))),
        "journal": rng.choice((LOSE_JOURNAL, LOSE_JOURNAL, KEEP_JOURNAL)),
        "kill": rng.random() < 0.5,
    }


def right_after_published(rng: random.Random) -> dict[str, Any]:
    return {"fact": "published", "count": rng.randint(1, 4), "delay": 0, "journal": LOSE_JOURNAL, "kill": rng.random() < 0.5}


@pytest.mark.parametrize(
    "rounds", [ROUNDS, pytest.param(MANY, marks=pytest.mark.long)]
)
def test_cut_at_any_moment_nothing_that_was_told_is_lost(plant: Plant, rounds: int) -> None:
    total = plant.rounds(rounds, 1000, any_moment, scenario="busy")
    print(total)
    assert not total.problems, str(total)


@pytest.mark.parametrize(
    "rounds", [ROUNDS, pytest.param(MANY, marks=pytest.mark.long)]
)
def test_cut_right_after_published_was_told_the_file_is_there(plant: Plant, rounds: int) -> None:
    total = plant.rounds(rounds, 5000, right_after_published, scenario="published")
    print(total)
    assert not total.problems, str(total)
