"""uploadd itself, as people run it: default settings, the log at its default level into a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.contenders.server import Server, Starter, contender, process
from uploadd import __version__

READY = r"at http://127\.0\.0\.1:(\d+)"


def daemon(
    folder: Path, ack: str, *settings: str, under: tuple[str, ...] = ("-m", "uploadd")
) -> Iterator[Server]:
    """A daemon on *folder*, which may hold something already."""
    command = [sys.executable, *under, "serve", str(folder), "--port", "0"]
    for setting in (f"durability.ack={ack}", *settings):
        command += ["--set", setting]
    began = time.perf_counter()
    log = folder.parent / "uploadd.log"
    with process(command, log, READY) as (running, ready):
        assert ready is not None
        yield Server(
            f"uploadd {ack}", __version__, int(ready[1]), (running.pid,), folder,
            ack, ack == "durable", started=time.perf_counter() - began, log=log,
        )  # fmt: skip


def starter(ack: str, *settings: str, under: tuple[str, ...] = ("-m", "uploadd")) -> Starter:
    """How to start it with other settings, or under another program."""

    @contender(f"uploadd {ack}")
    def start(folder: Path) -> Iterator[Server]:
        yield from daemon(folder, ack, *settings, under=under)

    return start


DURABLE = starter("durable")
WRITTEN = starter("written")
"""What others do: compared with them in this mode, and both are always told."""
