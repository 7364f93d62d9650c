"""One large upload by form over 1, 8 and 64 connections, as a page without a script sends it.

uploadd beside copyparty and aiohttp.  Every byte of a form has to be looked at for the boundary.
"""

from bench.contenders import python, uploadd
from bench.harness import Bench
from bench.load import bodies
from bench.places import MIB


def run(bench: Bench) -> None:
    """The same bytes in all, however many connections."""
    for place in bench.everywhere("large forms"):
        size = bench.mib(place, short=128, full=512, disk=64)
        with bench.servers(
            place, uploadd.WRITTEN, uploadd.DURABLE, python.copyparty, python.aiohttp
        ) as servers:
            for connections in bench.pick(short=(1,), full=(1, 8, 64)):
                bench.compare(
                    f"form with {size // MIB} MiB, {connections} connections",
                    place,
                    servers,
                    lambda server: bodies.send(server, bodies.form, connections, size),
                )
