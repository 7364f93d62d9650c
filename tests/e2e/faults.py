"""Faults at storage calls: rules for the library in ``faults.c``.

A program under test has the library preloaded; `arm` arms it from inside, `environment` does so
for a program that knows nothing of it, such as the daemon itself.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

KINDS: Final = (  # in the order of faults.c
    *("open", "pwrite", "pwritev", "fdatasync", "fsync", "ftruncate", "link", "unlink"),
    *("mkdir", "fchmod", "fallocate", "syncfs"),
)
TAKES_ROOM: Final = ("open", "pwrite", "pwritev", "link", "mkdir", "fallocate")
"""Calls that a full disk refuses."""
_ACTIONS: Final = {"kill": 1, "fail": 2, "short": 3, "lie": 4}
FOREVER: Final = 2**62


@dataclass(frozen=True)
class Rule:
    """From the *first* to the *last* call of *kinds* (all if empty), counted from 1: *action*.

    "kill" before the call; "fail" with *error*; "short", a write of half; "lie", a sync that
    fails once and from then on does nothing for its descriptor, and says that it did.
    """

    action: Literal["kill", "fail", "short", "lie"]
    first: int
    last: int
    kinds: tuple[str, ...] = ()
    error: int = errno.EIO

    def __str__(self) -> str:
        mask = sum(1 << KINDS.index(kind) for kind in self.kinds or KINDS)
        return f"{mask} {self.first} {self.last} {_ACTIONS[self.action]} {self.error}"


def build(where: Path) -> Path | None:
    """Compile the library into *where*; None where there is no compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    library = where / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    return library


def environment(
    library: Path, folder: Path, rules: Sequence[Rule] = (), trace: Path | None = None
) -> dict[str, str]:
    """What to add to the environment of a program that these *rules* shall meet."""
    added = {
        "LD_PRELOAD": str(library),
        "FAULTS_FOLDER": os.path.realpath(folder),
        "FAULTS": ";".join(map(str, rules)),
    }
    return added | ({"FAULTS_TRACE": str(trace)} if trace else {})


def arm(folder: str, rules: Sequence[str], trace: str | None = None) -> None:
    """Let *rules* (as text) loose on this process, which has the library preloaded.

    *trace* gets a line for every call that is counted.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    fd = os.open(trace, flags, 0o600) if trace else -1
    text = ";".join(rules).encode()
    ctypes.CDLL(None).faults_arm(os.path.realpath(folder).encode(), text, ctypes.c_int(fd))


def disarm() -> None:
    """Count nothing and do nothing any more."""
    ctypes.CDLL(None).faults_disarm()


def hits() -> int:
    """How often a rule has struck in this process."""
    library = ctypes.CDLL(None)
    library.faults_hits.restype = ctypes.c_long
    return int(library.faults_hits())
