"""One large upload by raw PUT over 1, 8 and 64 connections, as ``curl -T`` sends it.

uploadd beside nginx with its dav module, copyparty and aiohttp.
"""

from bench.contenders import nginx, python, raw, uploadd
from bench.harness import Bench
from bench.load import bodies
from bench.places import MIB


def run(bench: Bench) -> None:
    """The same bytes in all, however many connections."""
    for place in bench.everywhere("large PUTs"):
        size = bench.mib(place, short=256, full=1024, disk=64)
        with bench.servers(
            place,
            *(uploadd.WRITTEN, uploadd.DURABLE, nginx.nginx),
            *bench.pick(short=(), full=(python.copyparty, python.aiohttp)),
            raw.SPLICE,
        ) as servers:
            for connections in bench.pick(short=(1, 8), full=(1, 8, 64)):
                bench.compare(
                    f"PUT of {size // MIB} MiB, {connections} connections",
                    place,
                    servers,
                    lambda server: bodies.send(server, bodies.put, connections, size),
                )
