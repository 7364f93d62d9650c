"""Killed, refused or cut short at every single storage call, it keeps what it told.

The scenario ``small`` makes some 200 storage calls, those of SQLite among them.  Each is a
point at which the process is killed, or the call fails; then the folder is opened again as by a
start of the daemon and judged by the oracle, every upload is brought to its end, and it is
judged again.  Points are enumerated until one is not reached any more.  Trials that take a
while go in strides by default, and through every point in their long form.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from tests.e2e.faults import FOREVER, KINDS, TAKES_ROOM, Rule, environment
from tests.e2e.oracle import LEDGER, verify
from tests.e2e.zygote import ROOT, Zygote
from uploadd.ledger import Ledger

SEED = 20
POINTS = 190
"""Storage calls that the scenario makes at the least."""
WRITES = ("pwrite", "pwritev")
Stage = tuple[str, Sequence[Rule]]  # a scenario, and what happens to it


def strides(default: int, long: int = 1) -> pytest.MarkDecorator:
    """Every *default*-th point; all of them in the long form, or every *long*-th."""
    return pytest.mark.parametrize("stride", [default, pytest.param(long, marks=pytest.mark.long)])


@dataclass
class Trial:
    """Some runs with faults, one after the other in one folder, and what the oracle says."""

    stages: tuple[Stage, ...]
    outcomes: list[str] = field(default_factory=list)
    struck: bool = True
    """Whether every rule has struck."""
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        stages = "; ".join(f"{name}: {list(rules)}" for name, rules in self.stages)
        return "\n  ".join([f"seed {SEED}, {stages}: {self.outcomes}", *self.problems])


@dataclass
class Laboratory:
    """Runs trials, as many at a time as it has zygotes."""

    zygotes: list[Zygote]
    folder: Path
    how: dict[str, Any] = field(default_factory=dict)
    """What else the program under test is told."""
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._free: SimpleQueue[Zygote] = SimpleQueue()
        self._number = itertools.count()
        for zygote in self.zygotes:
            self._free.put(zygote)

    def at_every_point(
        self,
        *stages: Callable[[int], Stage],
        stride: int = 1,
        first: int = 1,
        last: int = 10_000,
    ) -> int:
        """A trial for n = *first*, *first* + *stride*, ... until a rule does not strike any more.

        The last n that was reached.  Fails with what the oracle finds.
        """
        points, before = iter(range(first, last + 1, stride)), len(self.trials)
        with ThreadPoolExecutor(len(self.zygotes)) as pool:
            while True:
                batch = list(itertools.islice(points, 4 * len(self.zygotes)))
                done = list(pool.map(lambda n: self._trial(*(stage(n) for stage in stages)), batch))
                self.trials += [trial for trial in done if trial.struck]
                if not done or not all(trial.struck for trial in done):
                    break
        bad = [str(trial) for trial in self.trials if trial.problems]
        assert not bad, "\n".join([f"{len(bad)} of {len(self.trials)} points:", *bad[:5]])
        return first + stride * (len(self.trials) - before - 1)

    @property
    def outcomes(self) -> Counter[str]:
        """How the last runs of the trials ended."""
        return Counter(trial.outcomes[-1] for trial in self.trials)

    def _trial(self, *stages: Stage) -> Trial:
        zygote = self._free.get()
        place = self.folder / str(next(self._number))
        (place / "store").mkdir(parents=True)
        where = {"dir": str(place / "store"), "history": str(place / "history")}
        trial = Trial(stages)
        try:
            for scenario, rules in stages:
                self._run(zygote, trial, where, scenario, rules)
            trial.problems += zygote.result("tests.e2e.driver:aftermath", **where)["problems"]
        except (AssertionError, TimeoutError) as error:
            trial.problems.append(str(error))
        finally:
            shutil.rmtree(place)
            self._free.put(zygote)
        return trial

    def _run(
        self,
        zygote: Zygote,
        trial: Trial,
        where: dict[str, str],
        scenario: str,
        rules: Sequence[Rule],
    ) -> None:
        how = {**self.how, "scenario": scenario, "seed": SEED, "rules": list(map(str, rules))}
        ended = zygote.run("tests.e2e.driver:run", **where, **how)
        if ended.signal:
            trial.outcomes.append("killed")
            return
        assert ended.raised is None, ended.raised
        trial.outcomes.append(ended.result["outcome"])
        trial.struck &= ended.result["hits"] >= len(rules)


@pytest.fixture
def laboratory(library: Path, zygotes: list[Zygote], memory: Path) -> Iterator[Laboratory]:
    """Two zygotes and a folder in memory; ``pytest -s`` prints the figures."""
    laboratory = Laboratory(zygotes, memory)
    yield laboratory
    print(f" {len(laboratory.trials)} points: {dict(laboratory.outcomes)}")


def once(action: Any, *kinds: str, error: int = errno.EIO) -> Callable[[int], Stage]:
    """Something happens to the n-th call of *kinds*."""
    return lambda n: ("small", [Rule(action, n, n, kinds, error)])


def from_then_on(action: Any, *kinds: str, error: int = errno.EIO) -> Callable[[int], Stage]:
    """Something happens to the n-th call of *kinds*, and to all that follow."""
    return lambda n: ("small", [Rule(action, n, FOREVER, kinds, error)])


# --- killed ---------------------------------------------------------------------------------------


def test_killed_before_any_storage_call_nothing_is_lost(laboratory: Laboratory) -> None:
    """SIGKILL at the n-th call, n = 1, 2, ... until the scenario gets through."""
    assert laboratory.at_every_point(once("kill")) > POINTS
    assert set(laboratory.outcomes) == {"killed"}


def killed_at(first: int, _: int) -> Stage:
    """SIGKILL always at the same call."""
    return "small", [Rule("kill", first, first)]


@strides(10, 3)
def test_killed_and_killed_again_while_it_recovers(laboratory: Laboratory, stride: int) -> None:
    """Whatever is left, any point of the start that follows may be the end of that, too."""
    for first in range(1, POINTS, 2 * stride):
        reached = laboratory.at_every_point(
            partial(killed_at, first),
            lambda n: ("nothing", [Rule("kill", n, n)]),
            first=1 + first % stride,
            stride=stride,
        )
        assert reached > 20


@strides(4)
def test_refused_once_and_killed_later(laboratory: Laboratory, stride: int) -> None:
    """The first write finds no room: what it leaves behind is in nobody's way afterwards."""
    full = Rule("fail", 1, 1, ("pwritev",), errno.ENOSPC)
    laboratory.at_every_point(lambda n: ("small", [full, Rule("kill", n, n)]), stride=stride)
    assert set(laboratory.outcomes) == {"killed"}


@strides(6)
def test_what_is_only_written_survives_a_kill(laboratory: Laboratory, stride: int) -> None:
    """``durability.ack = "written"`` promises that much."""
    laboratory.how["durable"] = False
    laboratory.at_every_point(once("kill"), stride=stride)
    assert set(laboratory.outcomes) == {"killed"}


def test_the_oracle_finds_a_daemon_that_tells_too_early(laboratory: Laboratory) -> None:
    """Offsets told before they are in the ledger: the tests above can fail."""
    laboratory.how["broken"] = "early"
    with pytest.raises(AssertionError, match=r"told 5000, and it is at 0"):
        laboratory.at_every_point(once("kill"), first=50, last=120)


@pytest.mark.parametrize("last", [400, pytest.param(2000, marks=pytest.mark.long)])
def test_killed_while_six_clients_are_busy(laboratory: Laboratory, last: int) -> None:
    """At some storage call, when batches hold the work of several."""
    laboratory.at_every_point(lambda n: ("busy", [Rule("kill", n, n)]), stride=9, last=last)
    assert set(laboratory.outcomes) == {"killed"}


# --- refused --------------------------------------------------------------------------------------


@strides(2)
def test_one_call_fails_with_an_io_error(laboratory: Laboratory, stride: int) -> None:
    """It goes on, or it ends as a failing medium demands, or it does not start: nothing else."""
    laboratory.at_every_point(once("fail"), stride=stride)
    assert set(laboratory.outcomes) == {"done", "stopped", "not started"}


@strides(4)
def test_from_one_call_on_all_fail_with_an_io_error(laboratory: Laboratory, stride: int) -> None:
    """A disk that dies: nobody waits for ever, nothing is told."""
    laboratory.at_every_point(from_then_on("fail"), stride=stride)
    assert set(laboratory.outcomes) == {"done", "stopped", "not started"}


def test_no_flush_succeeds_any_more(laboratory: Laboratory) -> None:
    """From the n-th on."""
    laboratory.at_every_point(from_then_on("fail", "fdatasync", "fsync"))
    assert set(laboratory.outcomes) == {"done", "stopped", "not started"}


@strides(2)
def test_one_call_finds_no_room(laboratory: Laboratory, stride: int) -> None:
    """It is refused, asked for again, and done: a full disk is no reason to end."""
    kinds = tuple(kind for kind in TAKES_ROOM if kind != "open")
    laboratory.at_every_point(once("fail", *kinds, error=errno.ENOSPC), stride=stride)
    assert set(laboratory.outcomes) == {"done", "not started"}


def test_no_room_for_a_name_and_then_none_in_the_ledger(laboratory: Laboratory) -> None:
    """Whatever is refused after it was declared complete, it can be asked for again."""
    name = Rule("fail", 1, 1, ("link",), errno.ENOSPC)

    def both(n: int) -> Stage:
        return "small", [name, Rule("fail", n, n + 1, ("pwrite",), errno.ENOSPC)]

    laboratory.at_every_point(both, stride=2, first=31, last=61)
    assert set(laboratory.outcomes) == {"done"}


@strides(6)
def test_from_one_call_on_there_is_no_room(laboratory: Laboratory, stride: int) -> None:
    """Whoever asks again and again is refused again and again; a start finds all that was told."""
    kinds = tuple(kind for kind in TAKES_ROOM if kind != "open")
    laboratory.at_every_point(from_then_on("fail", *kinds, error=errno.ENOSPC), stride=stride)
    assert set(laboratory.outcomes) == {"done", "gave up", "not started"}


def test_one_call_finds_no_descriptor_left(laboratory: Laboratory) -> None:
    """EMFILE where a file or folder is opened: no reason to end either."""
    laboratory.at_every_point(once("fail", "open", error=errno.EMFILE))
    assert set(laboratory.outcomes) == {"done", "not started"}


# --- cut short ------------------------------------------------------------------------------------


@strides(3)
@pytest.mark.parametrize(
    "action",
    [once("short", *WRITES), once("fail", *WRITES, error=errno.EINTR)],
    ids=["short", "EINTR"],
)
def test_one_write_is_short_or_interrupted(
    laboratory: Laboratory, action: Callable[[int], Stage], stride: int
) -> None:
    """The rest of it is written as if nothing had been."""
    laboratory.at_every_point(action, stride=stride)
    assert set(laboratory.outcomes) == {"done"}


def test_every_write_is_short(laboratory: Laboratory) -> None:
    """Each takes half of what it is given, from the first or the second on."""
    laboratory.at_every_point(from_then_on("short", *WRITES), stride=40)
    assert set(laboratory.outcomes) == {"done"}


# --- the log of a ledger that could not be synced -------------------------------------------------


@pytest.mark.usefixtures("library")
def test_a_start_leaves_nothing_in_the_log_of_the_last_run(
    zygotes: list[Zygote], memory: Path
) -> None:
    """After a failed fsync the log may be in the page cache only; what is appended goes with it."""
    (store := memory / "store").mkdir()
    where = {"dir": str(store), "history": str(memory / "history")}
    kill = str(Rule("kill", POINTS - 30, POINTS - 30))
    ended = zygotes[0].run("tests.e2e.driver:run", **where, scenario="small", rules=[kill])
    assert ended.signal == signal.SIGKILL
    log = store / f"{LEDGER}-wal"
    assert log.stat().st_size > 0
    zygotes[0].result("tests.e2e.test_crash_points:open_ledger", path=str(store / LEDGER))
    assert log.stat().st_size == 0


def open_ledger(path: str) -> bool:
    """Open a ledger and be gone, without closing it."""
    return Ledger(path) is not None


# --- strace: with the kernel's eyes ---------------------------------------------------------------

SYSCALLS = {
    "open": ("open", "openat", "creat"),
    "pwrite": ("pwrite64", "write"),
    "pwritev": ("pwritev", "pwritev2", "writev"),
    "fdatasync": ("fdatasync",),
    "fsync": ("fsync",),
    "ftruncate": ("ftruncate", "truncate"),
    "link": ("link", "linkat", "rename", "renameat", "renameat2", "symlinkat"),
    "unlink": ("unlink", "unlinkat", "rmdir"),
    "mkdir": ("mkdir", "mkdirat"),
    "fchmod": ("fchmod", "chmod", "fchmodat"),
    "fallocate": ("fallocate",),
    "syncfs": ("syncfs", "sync"),
}


@pytest.fixture
def strace() -> str:
    """The program, where it may trace."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("no strace (apt install strace)")
    if subprocess.run([program, "-qq", "-o", os.devnull, "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here (ptrace is forbidden)")
    return program


def traced(strace: str, memory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The scenario as a program of its own, under strace with *options*."""
    (memory / "store").mkdir()
    driver = [sys.executable, "-m", "tests.e2e.driver", str(memory / "store")]
    what = [str(memory / "history"), "small", str(SEED)]
    command = [strace, "-f", "-qq", *options, *driver, *what]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_the_enumeration_leaves_no_storage_call_out(
    library: Path, strace: str, memory: Path
) -> None:
    """The kernel sees exactly the calls that the library counts, those of SQLite among them."""
    added = environment(library, memory / "store", trace=memory / "counted")
    options = [f"-E{name}={value}" for name, value in added.items()]
    names = ",".join(f"?{name}" for names in SYSCALLS.values() for name in names)
    options += ["-y", "-e", f"trace={names}", "-o", str(memory / "seen")]
    ended = traced(strace, memory, *options)
    assert ended.stdout == "done\n", ended.stderr
    kinds = {name: kind for kind, names in SYSCALLS.items() for name in names}
    seen: Counter[str] = Counter()
    for line in (memory / "seen").read_text().splitlines():
        call = re.match(r"\d+ +(\w+)\(", line)
        if call and str(memory / "store") in line:
            seen[kinds[call[1]]] += 1
    counted = Counter(line.split()[0] for line in (memory / "counted").read_text().splitlines())
    assert seen == counted
    assert counted.total() > POINTS
    assert set(counted) <= set(KINDS)


@pytest.mark.parametrize(
    ("fault", "n"),
    [
        *(("pwrite64:signal=SIGKILL", n) for n in (12, 40)),
        *(("fdatasync:signal=SIGKILL", n) for n in (7, 12)),
        *((f"{call}:signal=SIGKILL", 1) for call in ("pwritev2", "linkat", "unlinkat")),
        *((f"{call}:error=EIO", 1) for call in ("pwritev2", "linkat")),
        ("fdatasync:error=EIO", 9),
        ("pwritev2:error=ENOSPC", 2),
    ],
)
def test_struck_by_the_kernel_nothing_is_lost(
    strace: str, memory: Path, fault: str, n: int
) -> None:
    """A few of the same points without the library: it is not the library that makes them pass."""
    ended = traced(strace, memory, "-e", f"inject={fault}:when={n}", "-o", os.devnull)
    if "SIGKILL" in fault:
        assert ended.returncode == -signal.SIGKILL, ended.stderr
    else:
        assert ended.stdout in ("done\n", "stopped\n"), ended.stderr
    assert verify(str(memory / "store"), str(memory / "history"))["problems"] == []
