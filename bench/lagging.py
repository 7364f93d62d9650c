"""``python -m bench.lagging FILE serve …``: uploadd with a task beside it that measures its lag.

It is to be woken every 10 ms, and notes in FILE when it was and how much later than it should have
been: for every time that it should, also those that a long turn of the loop left out.
"""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

import trio

from uploadd import cli, daemon
from uploadd.commands import serve as command

INTERVAL = 0.01


async def _watch(notes: TextIO) -> None:
    due = time.perf_counter()
    while True:
        due += INTERVAL
        await trio.sleep(max(0.0, due - time.perf_counter()))
        now = time.perf_counter()
        notes.write(f"{now} {now - due}\n")
        while due + INTERVAL <= now:
            due += INTERVAL
            notes.write(f"{now} {now - due}\n")


def main() -> int:
    """The exit code of uploadd."""
    serve = daemon.serve

    async def watched(*args: Any, **kwargs: Any) -> None:
        # A line at a time into memory (tmpfs): that is what noting costs the loop.
        with open(sys.argv[1], "w", buffering=1) as notes:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_watch, notes)
                await serve(*args, **kwargs)
                nursery.cancel_scope.cancel()

    vars(command)["serve"] = watched
    return cli.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
