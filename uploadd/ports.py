"""Who listens on a port of this machine, as /proc tells it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

LISTEN: Final = "0A"


class Process(NamedTuple):
    """A process that others can name."""

    pid: int
    name: str


def listener(port: int) -> Process | None:
    """Who listens on TCP *port*; None when nobody does, or it is not ours to see."""
    inodes = set(_inodes(port))
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is somebody else's
            links = (os.readlink(fd) for fd in (process / "fd").iterdir())
            if any(link.startswith("socket:[") and link[8:-1] in inodes for link in links):
                return Process(int(process.name), (process / "comm").read_text().strip())
    return None


def _inodes(port: int) -> Iterator[str]:
    """The inodes of the sockets that listen on *port*."""
    for family in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == LISTEN and int(words[1].rpartition(":")[2], 16) == port:
                    yield words[9]
