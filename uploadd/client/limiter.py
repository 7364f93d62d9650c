"""``--limit-rate``: how fast bytes may leave, over all uploads of a client together."""

from __future__ import annotations

from typing import Final

import trio

SECONDS: Final = 0.125  # of the rate in one chunk: eight small steps a second look smooth


class Limiter:
    """*rate* bytes per second, and never more than one chunk ahead of it.

    Time that nobody used is not saved up, so that there is no burst after a pause.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free = 0.0  # when all that was let through is paid for

    def size(self, wanted: int) -> int:
        """Bytes of the next chunk, *wanted* at most."""
        return max(1, min(wanted, int(self._rate * SECONDS)))

    async def take(self, count: int) -> None:
        """Return when *count* bytes may go; whoever asks first goes first."""
        begin = max(self._free, trio.current_time())
        self._free = begin + count / self._rate
        try:
            await trio.sleep_until(begin)
        except trio.Cancelled:
            self._free -= count / self._rate  # they do not go after all
            raise
