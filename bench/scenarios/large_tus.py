"""One large upload by tus PATCH over 1, 8 and 64 connections.

2 GiB in the full form.  uploadd beside @tus/server, tuspyserver, and any ``--peer tus=URL``; the
first two flush no bytes.  The limit beside them: the kernel's splice(2) into a file, without a
protocol.
"""

from bench.contenders import node, python, raw, uploadd
from bench.contenders.server import Server
from bench.harness import CPU, RATE, Bench
from bench.load import bodies
from bench.places import MIB


def run(bench: Bench) -> None:
    """The same bytes in all, however many connections; fewer over 64, which are a worse case."""
    for place in bench.everywhere("tus PATCH"):
        large = (128 if place.on_disk else bench.pick(short=256, full=2048)) * MIB
        with bench.servers(
            place,
            *(uploadd.WRITTEN, uploadd.DURABLE, node.tus_server),
            *bench.pick(short=(), full=(python.tuspyserver,)),
            *bench.foreign("tus"),
            raw.SPLICE,
        ) as servers:
            for connections in (1, 8, 64):
                size = large // 4 if connections == 64 else large
                bench.compare(
                    f"tus PATCH of {size // MIB} MiB, {connections} connections",
                    place,
                    servers,
                    lambda server: bodies.send(server, _make(server), connections, size),
                    *(RATE, CPU),
                )


def _make(server: Server) -> bodies.Make:
    return bodies.put if server.name.startswith("raw") else bodies.patch
