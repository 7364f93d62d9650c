"""Small uploads over HTTP: files of 10 KiB a second, 32 connections, one request each.

tus creation-with-upload beside @tus/server, tuspyserver and any ``--peer tus=URL``; raw PUT beside
nginx and copyparty.  uploadd writes one line to its log for each, as it does by default.
"""

from collections.abc import Callable

from bench.contenders import nginx, node, python, uploadd
from bench.contenders.server import Server
from bench.harness import PER_SECOND, Bench
from bench.load import requests
from bench.load.workers import Load

SIZE = 10240
CONNECTIONS = 32


def run(bench: Bench) -> None:
    """As many at once as a busy site has."""
    count = bench.pick(short=1000, full=4000)
    for place in bench.everywhere("small tus uploads"):
        with bench.servers(
            place,
            *(uploadd.DURABLE, uploadd.WRITTEN, node.tus_server, python.tuspyserver),
            *bench.foreign("tus", place),
        ) as servers:
            bench.compare(
                "tus creation with 10 KiB, 32 connections",
                place,
                servers,
                lambda server: _load(server, requests.creation, count),
                PER_SECOND,
            )
    for place in bench.everywhere("small PUTs"):
        with bench.servers(
            place, uploadd.DURABLE, uploadd.WRITTEN, nginx.nginx, python.copyparty
        ) as servers:
            bench.compare(
                "PUT of 10 KiB, 32 connections",
                place,
                servers,
                lambda server: _load(server, requests.put, count),
                PER_SECOND,
            )


def _load(server: Server, kind: Callable[[Server, int], requests.Make], count: int) -> Load:
    return requests.closed_loop(server, lambda: kind(server, SIZE), count, CONNECTIONS)
