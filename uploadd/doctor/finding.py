"""One thing that was looked at."""

from __future__ import annotations

import time
from enum import Enum
from typing import NamedTuple

from uploadd.protocol.certificates import worry
from uploadd.protocol.saying import printable


class Mark(Enum):
    """How it is."""

    GOOD = "✓"
    DOUBT = "!"
    """It works, and there is something to know."""
    WRONG = "✗"


class Finding(NamedTuple):
    """What was looked at and how it is; *lines* are what to type, or to write where."""

    mark: Mark
    what: str
    how: str
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.mark.value} {self.what:12} {self.how}", *self._indented()]
        # A server may have said it: it is one line, and no terminal obeys it.
        return "\n".join(printable(line).replace("\n", " ") for line in lines)

    def _indented(self) -> list[str]:
        return [f"  {'→' if number == 0 else ' '} {line}" for number, line in enumerate(self.lines)]


def good(what: str, how: str) -> Finding:
    return Finding(Mark.GOOD, what, how)


def doubt(what: str, how: str, *lines: str) -> Finding:
    return Finding(Mark.DOUBT, what, how, lines)


def wrong(what: str, how: str, *lines: str) -> Finding:
    return Finding(Mark.WRONG, what, how, lines)


def lasts(ends: float, *lines: str) -> Finding:
    """A certificate that ends then, in epoch seconds; *lines* renew it."""
    if ends <= time.time():
        return wrong("certificate", worry(ends, time.time()), *lines)
    if worried := worry(ends, time.time()):
        return doubt("certificate", worried, *lines)
    return good("certificate", f"lasts for {(ends - time.time()) / 86_400:.0f} days")
