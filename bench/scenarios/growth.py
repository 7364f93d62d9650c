"""Growth: throughput and memory as sessions grow from 1 to 10, 100 and 1 000.

The same bytes in all, over ever more sessions, each with one upload at full speed.
"""

from bench.contenders import node, python, uploadd
from bench.harness import PEAK, RATE, Bench, Measure
from bench.load import bodies, sessions
from bench.places import MIB, TMPFS

CHUNK = 256 * 1024
MEMORY = Measure("MiB", PEAK.of, "less", "peak RSS")


def run(bench: Bench) -> None:
    """WebSocket, then tus PATCH."""
    size = bench.pick(short=100, full=500) * MIB
    others = bench.pick(short=(node.ws,), full=(uploadd.DURABLE, node.ws, python.aiohttp))
    rounds = bench.pick(short=1, full=3)
    for place in bench.at(TMPFS):
        with bench.servers(place, uploadd.WRITTEN, *others) as servers:
            for number in (1, 10, 100, 1000):
                bench.compare(
                    f"WebSocket, {number} sessions",
                    place,
                    servers,
                    lambda server: sessions.upload(server, number, size, CHUNK),
                    *(RATE, MEMORY),
                    rounds=rounds,
                    at=number,
                )
        with bench.servers(place, uploadd.WRITTEN, node.tus_server) as servers:
            for number in (1, 10, 100, 1000):
                bench.compare(
                    f"tus PATCH, {number} sessions",
                    place,
                    servers,
                    lambda server: bodies.send(server, bodies.patch, number, size),
                    *(RATE, MEMORY),
                    rounds=rounds,
                    at=number,
                )
