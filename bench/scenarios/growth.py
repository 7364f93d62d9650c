"""Growth: throughput and memory as sessions grow from 1 to 10, 100 and 1 000.

The same bytes in all, over ever more sessions, each with one upload at full speed: by WebSocket,
then by tus PATCH.
"""

from collections.abc import Callable

from bench.contenders import node, python, uploadd
from bench.contenders.server import Server
from bench.harness import PEAK, RATE, Bench, Measure
from bench.load import bodies, sessions
from bench.load.workers import Load
from bench.places import Place

CHUNK = 256 * 1024
MEMORY = Measure("MiB", PEAK.of, "less", "peak RSS")
Turn = Callable[[Server, int, int], Load]
"""A load of so many sessions, and of so many bytes in all."""


def run(bench: Bench) -> None:
    """Less of it on disks, where everything stays."""
    for place in bench.everywhere("growth by WebSocket"):
        more = bench.pick(short=(), full=(uploadd.DURABLE,))
        others = (
            (node.ws,)
            if place.on_disk
            else bench.pick(short=(node.ws,), full=(node.ws, python.aiohttp))
        )
        with bench.servers(place, uploadd.WRITTEN, *more, *others) as servers:
            _grow(bench, place, servers, "WebSocket", _websocket)
    for place in bench.everywhere("growth by tus PATCH"):
        with bench.servers(place, uploadd.WRITTEN, node.tus_server) as servers:
            _grow(bench, place, servers, "tus PATCH", _tus)


def _grow(bench: Bench, place: Place, servers: list[Server], what: str, turn: Turn) -> None:
    size = bench.mib(place, short=100, full=500, disk=100)
    for number in (1, 10, 100, 1000):
        bench.compare(
            f"{what}, {number} sessions",
            place,
            servers,
            lambda server: turn(server, number, size),
            *(RATE, MEMORY),
            rounds=bench.pick(short=1, full=3),
            at=number,
        )


def _websocket(server: Server, number: int, size: int) -> Load:
    return sessions.upload(server, number, size, CHUNK)


def _tus(server: Server, number: int, size: int) -> Load:
    return bodies.send(server, bodies.patch, number, size)
