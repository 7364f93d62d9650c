"""One large upload by tus PATCH over 1, 8 and 64 connections.

uploadd beside @tus/server, tuspyserver, and any ``--peer tus=URL``; the first two flush no bytes.
The limit beside them: the kernel's splice(2) into a file, without a protocol.
"""

from bench.contenders import node, python, raw, uploadd
from bench.contenders.server import Server
from bench.harness import CPU, RATE, Bench
from bench.load import bodies
from bench.places import MIB


def run(bench: Bench) -> None:
    """The same bytes in all, however many connections."""
    for place in bench.everywhere("tus PATCH"):
        size = bench.mib(place, short=256, full=1024, disk=64)
        with bench.servers(
            place,
            *(uploadd.WRITTEN, uploadd.DURABLE, node.tus_server),
            *bench.pick(short=(), full=(python.tuspyserver,)),
            *bench.foreign("tus", place),
            raw.SPLICE,
        ) as servers:
            for connections in (1, 8, 64):
                bench.compare(
                    f"tus PATCH of {size // MIB} MiB, {connections} connections",
                    place,
                    servers,
                    lambda server: bodies.send(server, _make(server), connections, size),
                    *(RATE, CPU),
                )


def _make(server: Server) -> bodies.Make:
    return bodies.put if server.name.startswith("raw") else bodies.patch
