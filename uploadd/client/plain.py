"""``--progress=plain``: a line every five seconds, for logs that nobody draws bars in."""

from __future__ import annotations

from typing import Final

import trio

from uploadd.client.screen import Screen
from uploadd.client.totals import Totals
from uploadd.protocol.saying import duration, plural, size

SECONDS: Final = 5.0


class Plain(Screen):
    """A Reporter without bars."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(bars=False, quiet=quiet)
        self.counts = not quiet

    async def follow(self, totals: Totals) -> None:
        """See Reporter."""
        moved = 0
        while True:
            await trio.sleep(SECONDS)
            rate, moved = (totals.moved - moved) / SECONDS, totals.moved
            if rate or totals.active:
                self.say(line(totals, rate))


def line(totals: Totals, rate: float) -> str:
    """``1.2 GiB of 4.0 GiB stored (30%), 3 of 12 files, 96.6 MiB/s, 30s left``."""
    of_bytes = share = left = ""
    if totals.counted and totals.bytes:
        missing = max(0, totals.bytes - totals.durable)
        of_bytes = f" of {size(totals.bytes)}"
        share = f" ({100 * min(totals.durable, totals.bytes) // totals.bytes}%)"
        left = f", {duration(missing / rate)} left" if rate and missing else ""
    files = plural(totals.expected, "file") + ("" if totals.counted else " or more")
    failed = f", {totals.failed} failed" if totals.failed else ""
    return (
        f"{size(totals.durable)}{of_bytes} stored{share},"
        f" {totals.stored} of {files}{failed}, {size(rate)}/s{left}"
    )
