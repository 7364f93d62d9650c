"""How long the disk takes, by what was asked of it; on the loop only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from uploadd.tally import QUICK, Histogram


class Seconds(dict[str, Histogram]):
    """Histograms by operation, from when it was asked for until it was done."""

    def took(self, operation: str, seconds: float) -> None:
        """It is done."""
        found = self.get(operation)
        if found is None:
            found = self[operation] = Histogram(QUICK)
        found.observe(seconds)

    @contextmanager
    def of(self, operation: str) -> Iterator[None]:
        """The block does it, well or not."""
        began = trio.current_time()
        try:
            yield
        finally:
            self.took(operation, trio.current_time() - began)
