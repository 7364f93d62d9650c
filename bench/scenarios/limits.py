"""The limits: what the kernel does when nobody asks for anything but the bytes.

Raw receive into one buffer that is thrown away, splice(2) into a file, sendfile(2) from one, and
fdatasync after 64 KiB, on each kind of disk.
"""

import os
import time
from pathlib import Path

from bench.contenders import raw
from bench.contenders.server import Server
from bench.figures import percentile
from bench.harness import Bench, Measure
from bench.load import bodies, gets
from bench.load.workers import Go, Job, Part, together
from bench.places import DISK, JOURNAL, MIB, TMPFS

P50 = Measure("ms", lambda load: percentile(load.samples, 0.5) * 1e3, "less", "p50")
P99 = Measure("ms", lambda load: percentile(load.samples, 0.99) * 1e3, "less", "p99")
PIECE = 65536


def run(bench: Bench) -> None:
    """Without a protocol.  One sendfile(2) of it all is no bound: small steps stay in the cache."""
    size = bench.pick(short=256, full=1024) * MIB
    count = bench.pick(short=100, full=500)
    for place in bench.at(TMPFS):
        with bench.servers(place, raw.RECEIVE, raw.SPLICE) as servers:
            for connections in (1, 8):
                bench.compare(
                    f"body of {size // MIB} MiB, {connections} connections",
                    place,
                    servers,
                    lambda server: bodies.send(server, bodies.put, connections, size),
                )
        with bench.servers(place, raw.SENDFILE) as servers:
            (servers[0].root / "large").write_bytes(os.urandom(MIB) * (size // MIB))
            bench.compare(
                f"GET of {size // MIB} MiB, 1 connection",
                place,
                servers,
                lambda server: gets.download(server, "/large", 1),
                keep=True,
            )
    for place in bench.at(TMPFS, DISK, JOURNAL, what="fdatasync"):
        server = Server("fdatasync", os.uname().release, 0, (), bench.folder(place),
                        "durable", flushes=True)  # fmt: skip
        bench.compare(
            "64 KiB appended, then fdatasync",
            place,
            [server],
            lambda server: together(server, _flushes(server.root, count)),
            *(P50, P99),
        )


def _flushes(folder: Path, count: int) -> Job:
    payload = os.urandom(PIECE)

    def job(go: Go) -> Part:
        fd = os.open(folder / f"{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        samples = []
        go()
        for _ in range(count):
            os.write(fd, payload)
            began = time.perf_counter()
            os.fdatasync(fd)
            samples.append(time.perf_counter() - began)
        return Part(count, count * PIECE, samples)

    return job
