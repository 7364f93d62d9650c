"""What a command line of ``uploadd put`` asks for, and the one that asks for the rest of it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from uploadd.client.patterns import Patterns
from uploadd.client.selection import STDIN, Selection

JOBS: Final = 3
SETTLE: Final = "5s"
LINKED: Final = (
    "the URL is to be the link that you were given: its ticket is a secret, and not said again"
)
"""How to go on with a link."""


def program() -> str:
    """How this program was called, so that a line that we print can be typed."""
    called = sys.argv[0]
    return called if os.path.basename(called) == "uploadd" and "/" in called else "uploadd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One command.  Amounts are kept as they were typed beside what they mean."""

    files: Sequence[str]
    url: str
    token: str | None = None
    token_file: str | None = None
    linked: bool = False
    """Whether the token is that of a link, which the lines that we print do not repeat."""
    jobs: int = JOBS
    name: str | None = None
    resume: bool = True
    checksum: bool = False
    rate: float | None = None
    rate_text: str = ""
    exclude: Sequence[str] = ()
    newer: float | None = None
    newer_text: str = ""
    watch: str | None = None
    settle: float = 5.0
    settle_text: str = SETTLE
    json: bool = False
    quiet: bool = False
    progress: str = "auto"

    def selection(self) -> Selection:
        """Which files it is about."""
        words = self.files if self.watch is None else [self.watch]
        return Selection(words, Patterns(self.exclude), self.newer)

    def line(self, left: Sequence[str]) -> str:
        """The command that stores *left*, as it is to be typed.

        It never says --no-resume: it is there to go on.
        """
        words = [program(), "put"]
        if self.watch is not None:
            words += ["--watch", self.watch]
            words += [] if self.settle_text == SETTLE else ["--settle", self.settle_text]
        words += [] if self.jobs == JOBS else ["--jobs", str(self.jobs)]
        words += ["--name", self.name] if self.name else []
        words += ["--checksum"] if self.checksum else []
        words += ["--limit-rate", self.rate_text] if self.rate_text else []
        words += [f"--exclude={pattern}" for pattern in self.exclude]
        words += ["--newer", self.newer_text] if self.newer_text else []
        words += ["--json"] if self.json else []
        words += ["--quiet"] if self.quiet else []
        words += [] if self.progress == "auto" else [f"--progress={self.progress}"]
        words += ["--token-file", self.token_file] if self.token_file else []
        words += [f"./{path}" if path.startswith("-") and path != STDIN else path for path in left]
        return shlex.join([*words, self.url])
