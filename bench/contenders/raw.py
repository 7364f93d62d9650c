"""The limits: what the kernel does when nobody asks for anything but the bytes."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.contenders.node import SCRIPTS
from bench.contenders.server import Server, Starter, contender, process


def limit(name: str, kind: str, durability: str = "", *, flushes: bool = False) -> Starter:
    """``bench/peers/raw.py KIND``: receive, splice, splice-flush or sendfile."""

    @contender(name)
    def start(folder: Path) -> Iterator[Server]:
        command = [sys.executable, str(SCRIPTS / "raw.py"), kind, str(folder)]
        log = folder.parent / f"raw-{kind}.log"
        with process(command, log, r"^port (\d+)$") as (running, ready):
            assert ready is not None
            yield Server(
                name, platform.release(), int(ready[1]), (running.pid,), folder, durability, flushes
            )

    return start


RECEIVE = limit("raw receive", "receive", "thrown away")
SPLICE = limit("raw splice", "splice", "page cache")
SPLICE_FLUSH = limit("raw splice + fdatasync", "splice-flush", "one fdatasync", flushes=True)
SENDFILE = limit("raw sendfile", "sendfile")
