"""Downloads: one large file, ranges of it, small files; beside others on the very same files.

uploadd publishes under the names that files came with, so nginx and aiohttp can serve them too.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from bench.contenders import nginx, python, raw, uploadd
from bench.contenders.server import Server, on
from bench.harness import PER_SECOND, Bench
from bench.load import bodies, gets, requests, small
from bench.load.workers import Load
from bench.places import MIB, Place

KIB = 1024
CONNECTIONS = 32
File = tuple[int, tuple[str, str]]
"""Length, then id and name."""
Servers = list[Server]


def run(bench: Bench) -> None:
    """All from the page cache: what is compared is the way from there into the socket."""
    size = bench.pick(short=256, full=1024) * MIB
    for place in bench.everywhere("downloads"):
        with bench.servers(place, uploadd.WRITTEN) as (ours,):
            bodies.send(ours, bodies.put, 1, size)
            small.upload(ours, 1, 10 * KIB)
            files = _published(ours.root)
            beside = (on(ours.root, s) for s in (nginx.nginx, python.aiohttp, raw.SENDFILE))
            with bench.servers(place, *beside) as others:
                speak = [ours, *(one for one in others if not one.name.startswith("raw"))]
                _large(bench, place, [ours, *others], max(files))
                _ranges(bench, place, speak, max(files))
                _small(bench, place, speak, min(files))


def _large(bench: Bench, place: Place, servers: Servers, file: File) -> None:
    size, _ = file
    for connections in bench.pick(short=(1,), full=(1, 8)):
        bench.compare(
            f"GET of {size // MIB} MiB, {connections} connections",
            place,
            servers,
            lambda server: gets.download(server, _path(server, file), connections),
            keep=True,
        )
    bench.compare(
        f"GET of {size // MIB} MiB by curl",
        place,
        servers,
        lambda server: gets.curl(server, _path(server, file)),
        keep=True,
    )


def _ranges(bench: Bench, place: Place, servers: Servers, file: File) -> None:
    count = bench.pick(short=1000, full=4000)
    bench.compare(
        f"ranges of 64 KiB, {CONNECTIONS} connections",
        place,
        servers,
        lambda server: requests.closed_loop(
            server,
            lambda: requests.ranges(_path(server, file), file[0], 64 * KIB),
            count,
            CONNECTIONS,
        ),
        PER_SECOND,
        keep=True,
    )


def _small(bench: Bench, place: Place, servers: Servers, file: File) -> None:
    count = bench.pick(short=4000, full=20000)

    def turn(server: Server) -> Load:
        path = _path(server, file)
        by_wrk = requests.wrk(server, path, CONNECTIONS, bench.pick(short=1, full=3))
        return by_wrk or requests.closed_loop(
            server, lambda: requests.get(path), count, CONNECTIONS
        )

    bench.compare(
        f"GET of 10 KiB, {CONNECTIONS} connections", place, servers, turn, PER_SECOND, keep=True
    )


def _path(server: Server, file: File) -> str:
    id, name = file[1]
    return f"/f/{id}/{name}" if server.name.startswith("uploadd") else f"/{name}"


def _published(folder: Path) -> list[File]:
    """What uploadd has."""
    with closing(sqlite3.connect(f"file:{folder}/.uploadd/ledger.db?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT length, id, path FROM uploads").fetchall()
    return [(length, (id, path)) for length, id, path in rows]
