"""Durable against written mode, for one large upload, on each kind of disk.

Beside both, in the same run: the same bytes written by ``dd conv=fdatasync``, which is what a disk
can do when it is asked to keep what it was given, and from a socket by splice(2) with one
fdatasync, which is what a server can.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.contenders import raw, uploadd
from bench.contenders.server import Server, contender
from bench.harness import Bench
from bench.load import bodies
from bench.load.workers import Go, Load, Part, together
from bench.machine import program_version
from bench.places import DISK, JOURNAL, MIB, TMPFS


def run(bench: Bench) -> None:
    """By tus PATCH over one connection."""
    size = bench.pick(short=128, full=256) * MIB
    for place in bench.at(TMPFS, DISK, JOURNAL, what="durable beside written"):
        with bench.servers(
            place, uploadd.DURABLE, uploadd.WRITTEN, dd, raw.SPLICE_FLUSH
        ) as servers:
            bench.compare(
                f"{size // MIB} MiB to a file, 1 connection",
                place,
                servers,
                lambda server: _write(server, size),
                rounds=bench.pick(short=3, full=5),
            )


@contender("dd conv=fdatasync")
def dd(folder: Path) -> Iterator[Server]:
    """No server: dd from memory into a file."""
    yield Server("dd conv=fdatasync", program_version("dd", "--version"), 0, (), folder,
                 "one fdatasync", flushes=True)  # fmt: skip


def _write(server: Server, size: int) -> Load:
    if server.port:
        make = bodies.put if server.name.startswith("raw") else bodies.patch
        return bodies.send(server, make, 1, size)
    target = server.root / f"{len(list(server.root.iterdir()))}"
    command = ["dd", "if=/dev/zero", f"of={target}", "bs=1M", "conv=fdatasync", "status=none",
               f"count={size // MIB}"]  # fmt: skip

    def job(go: Go) -> Part:
        go()
        subprocess.run(command, check=True)
        return Part(1, size)

    return together(server, job)
