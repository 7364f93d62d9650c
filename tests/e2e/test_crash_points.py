"""Killed, refused or cut short at every single storage call, it keeps what it told.

The scenario ``small`` makes some 200 storage calls, those of SQLite among them.  Each is a
point at which the process is killed, or the call fails; then the folder is opened again as by a
start of the daemon, judged by the oracle, and every upload is brought to its end.
"""

from __future__ import annotations

import errno
import itertools
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from tests.e2e import faults
from tests.e2e.faults import FOREVER, KINDS, TAKES_ROOM, Rule
from tests.e2e.oracle import read_history, verify
from tests.e2e.zygote import ROOT, Zygote

SEED = 20
TOLD = 1_086_576
"""Bytes that the scenario tells when nothing fails."""


@dataclass
class Trial:
    """One run with faults, and what the oracle says of it."""

    rules: tuple[Rule, ...]
    outcome: str
    struck: bool
    problems: list[str]
    bytes_told: int = 0

    def __str__(self) -> str:
        rules = "; ".join(map(repr, self.rules))
        return f"seed {SEED}, {rules}: {self.outcome}\n  " + "\n  ".join(self.problems)


@dataclass
class Laboratory:
    """Runs trials, two at a time."""

    zygotes: list[Zygote]
    folder: Path
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._free: SimpleQueue[Zygote] = SimpleQueue()
        self._number = itertools.count()
        for zygote in self.zygotes:
            self._free.put(zygote)

    def at_every_point(self, rules: Callable[[int], Iterable[Rule]], *, stride: int = 1) -> int:
        """A trial for each n of 1, 1 + *stride*, ... until nothing strikes any more; how many."""
        points = itertools.count(1, stride)
        with ThreadPoolExecutor(len(self.zygotes)) as pool:
            while True:
                batch = itertools.islice(points, 4 * len(self.zygotes))
                done = list(pool.map(lambda n: self.trial(*rules(n)), batch))
                self.trials += [trial for trial in done if trial.struck]
                if not all(trial.struck for trial in done):
                    return len(self.trials)

    def trial(self, *rules: Rule) -> Trial:
        """One run that *rules* strike, and its aftermath."""
        zygote = self._free.get()
        place = self.folder / str(next(self._number))
        (place / "store").mkdir(parents=True)
        where = {"dir": str(place / "store"), "history": str(place / "history")}
        try:
            return self._trial(zygote, where, rules)
        finally:
            shutil.rmtree(place)
            self._free.put(zygote)

    def _trial(self, zygote: Zygote, where: dict[str, str], rules: tuple[Rule, ...]) -> Trial:
        run: dict[str, Any] = {"scenario": "small", "seed": SEED, "rules": list(map(str, rules))}
        try:
            ended = zygote.run("tests.e2e.driver:run", **where, **run)
        except TimeoutError as error:
            return Trial(rules, "hung", True, [str(error)])
        if ended.raised is not None:
            return Trial(rules, "raised", True, [ended.raised])
        outcome = "killed" if ended.signal else ended.result["outcome"]
        struck = bool(ended.signal) or ended.result["hits"] >= len(rules)
        after = zygote.run("tests.e2e.driver:aftermath", **where)
        if after.raised is not None:
            return Trial(rules, outcome, struck, [after.raised])
        return Trial(rules, outcome, struck, after.result["problems"], after.result["bytes_told"])

    def judge(self) -> Counter[str]:
        """How the trials ended; fails with those that the oracle finds fault with."""
        bad = [trial for trial in self.trials if trial.problems]
        text = "\n".join(map(str, bad[:5]))
        assert not bad, f"{len(bad)} of {len(self.trials)} points:\n{text}"
        return Counter(trial.outcome for trial in self.trials)


@pytest.fixture
def laboratory(zygotes: list[Zygote], memory: Path) -> Laboratory:
    return Laboratory(zygotes, memory)


def kill(n: int) -> list[Rule]:
    return [Rule("kill", n, n)]


def test_killed_before_any_storage_call_it_loses_nothing(laboratory: Laboratory) -> None:
    """SIGKILL at the n-th call, n = 1, 2, ... until the scenario gets through."""
    points = laboratory.at_every_point(kill)
    assert laboratory.judge() == {"killed": points}
    assert points > 150


@pytest.mark.parametrize("first", [1])
def test_killed_while_it_recovers_it_recovers_all_the_same(laboratory: Laboratory, first) -> None:
    pass


def fail(error: int, *kinds: str, last: int = 0) -> Callable[[int], list[Rule]]:
    return lambda n: [Rule("fail", n, last or n, kinds, error)]


def test_one_call_fails_with_an_io_error(laboratory: Laboratory) -> None:
    points = laboratory.at_every_point(fail(errno.EIO))
    print(laboratory.judge(), points)
    assert 0
def test_one_call_fails_with_enospc(laboratory: Laboratory) -> None:
    points = laboratory.at_every_point(fail(errno.ENOSPC, *TAKES_ROOM))
    print(laboratory.judge(), points)
    assert 0
def test_all_fails_with_enospc(laboratory: Laboratory) -> None:
    points = laboratory.at_every_point(fail(errno.ENOSPC, *TAKES_ROOM, last=FOREVER))
    print(laboratory.judge(), points)
    assert 0
def test_all_fails_with_eio(laboratory: Laboratory) -> None:
    points = laboratory.at_every_point(fail(errno.EIO, last=FOREVER))
    print(laboratory.judge(), points)
    assert 0
